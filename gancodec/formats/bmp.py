"""BMP: the colour profile of its fifth version, and what lies behind its end."""

from __future__ import annotations

import struct
from typing import BinaryIO

from gancodec.formats.facts import DAMAGED_PROFILE, Facts, behind_end

HEAD = 14  # bytes before the header proper
EMBEDDED, LINKED = b"DEBM", b"KNIL"  # kinds of colour space, as they lie in the file
MOST_PROFILE = 1 << 23
OS2 = b"\x0c\0\0\0"  # size of the oldest header


def look(file: BinaryIO) -> Facts:
    """Facts of a BMP file: the profile of its fifth version."""
    file.seek(HEAD)
    header = file.read(124)
    old = header[:4] == OS2
    bits = int.from_bytes(header[10:12] if old else header[14:16], "little")
    name = f"a BMP of {bits} bit{'' if bits == 1 else 's'} a pixel"
    notices = behind_end(file, _end_of_bmp(file, header))
    if len(header) < 124 or int.from_bytes(header[:4], "little") < 124:
        return Facts("BMP", name, notices)
    space, (start, size) = header[56:60], struct.unpack_from("<II", header, 112)
    if space == LINKED:
        return Facts("BMP", name, (*notices, "not kept: the name of a colour profile in another file"))
    if space != EMBEDDED:
        return Facts("BMP", name, notices)
    file.seek(HEAD + start)
    icc = file.read(size) if 0 < size <= MOST_PROFILE else b""
    if len(icc) < size or not icc:
        return Facts("BMP", name, (*notices, DAMAGED_PROFILE))
    return Facts("BMP", name, notices, icc=icc)


def _end_of_bmp(file: BinaryIO, header: bytes) -> int:
    """Where it says that it ends, or its pixels do, whichever is later: not all writers say the truth."""
    file.seek(0)
    head = file.read(HEAD)
    if len(head) < HEAD or len(header) < 40:
        return 1 << 62
    if header[:4] == OS2:
        width, height, _, bits, packed, size = *struct.unpack_from("<HHHH", header, 4), 0, 0
    else:
        width, height, _, bits, packed, size = struct.unpack_from("<iiHHII", header, 4)
    size = size if packed else -(-abs(width) * bits // 32) * 4 * abs(height)
    return max(int.from_bytes(head[2:6], "little"), int.from_bytes(head[10:], "little") + int(size))
