"""WebP: what lies behind its end (RFC 9649)."""

from __future__ import annotations

from typing import BinaryIO

from gancodec.formats.facts import Facts, behind_end


def look(file: BinaryIO) -> Facts:
    """Facts of a WebP file."""
    file.seek(0)
    end = 8 + int.from_bytes(file.read(8)[4:], "little")
    return Facts("WEBP", "a WebP", behind_end(file, end + end % 2))
