"""WebP: chunks that are not kept, and what lies behind its end (RFC 9649)."""

from __future__ import annotations

from typing import BinaryIO

from gancodec.formats.facts import Facts, behind_end

KNOWN = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "}
MOST_CHUNKS = 64  # before the pixels, or behind them; frames of an animation are not looked for further


def look(file: BinaryIO) -> Facts:
    """Facts of a WebP file."""
    file.seek(0)
    end = 8 + int.from_bytes(file.read(8)[4:], "little")
    place, names = 12, dict[str, None]()
    for _ in range(MOST_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or place >= end:
            break
        if head[:4] not in KNOWN:
            name = f"chunk {head[:4].decode('latin-1')!r}"
            names["content credentials (C2PA)" if head[:4] == b"C2PA" else name] = None
        place += 8 + int.from_bytes(head[4:], "little") + (head[4] & 1)
    told = (f"not kept: {', '.join(names)}",) if names else ()
    return Facts("WEBP", "a WebP", (*told, *behind_end(file, end + end % 2)))
