"""WebP, BMP and GIF: colour profiles that Pillow drops, and what lies behind the end."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from gancodec.formats.facts import Facts, behind

GIF_PROFILE, GIF_XMP = b"ICCRGBG1012", b"XMP DataXMP"
GIF_XMP_TAIL = 257  # bytes behind XMP, which lead every reader of sub-blocks to its end
BMP_HEAD = 14  # bytes before the header proper
EMBEDDED, LINKED, CALIBRATED = b"DEBM", b"KNIL", b"\0\0\0\0"  # colour space of a BMP, as it lies in the file
MOST_PROFILE = 1 << 23


def look_webp(file: BinaryIO) -> Facts:
    """Facts of a WebP file."""
    file.seek(0)
    end = 8 + int.from_bytes(file.read(8)[4:], "little")
    return Facts("WEBP", "a WebP", _behind(file, end + end % 2))


def look_bmp(file: BinaryIO) -> Facts:
    """Facts of a BMP file: the profile of its fifth version."""
    file.seek(BMP_HEAD)
    header = file.read(124)
    bits = int.from_bytes(header[14:16], "little")
    name = f"a BMP of {bits} bit{'' if bits == 1 else 's'} a pixel"
    notices = _behind(file, _end_of_bmp(file, header))
    if len(header) < 124 or int.from_bytes(header[:4], "little") < 124:
        return Facts("BMP", name, notices)
    space, (start, size) = header[56:60], struct.unpack_from("<II", header, 112)
    if space == LINKED:
        return Facts("BMP", name, (*notices, "not kept: the name of a colour profile in another file"))
    if space != EMBEDDED:
        return Facts("BMP", name, notices)
    file.seek(BMP_HEAD + start)
    icc = file.read(size) if 0 < size <= MOST_PROFILE else b""
    if len(icc) < size or not icc:
        return Facts("BMP", name, (*notices, "ICC profile is damaged: dropped"))
    return Facts("BMP", name, notices, icc=icc)


def _end_of_bmp(file: BinaryIO, header: bytes) -> int:
    """Where it says that it ends, or its pixels do, whichever is later: not all writers say the truth."""
    file.seek(0)
    head = file.read(BMP_HEAD)
    if len(head) < BMP_HEAD or len(header) < 40 or int.from_bytes(header[:4], "little") < 40:
        return 1 << 62
    width, height, _, bits, packed, size = struct.unpack_from("<iiHHII", header, 4)
    size = size if packed else -(-abs(width) * bits // 32) * 4 * abs(height)
    return max(int.from_bytes(head[2:6], "little"), int.from_bytes(head[10:], "little") + int(size))


def look_gif(file: BinaryIO) -> Facts:
    """Facts of a GIF file: profile and XMP in application extensions."""
    file.seek(0)
    data = file.read()
    place = 13 + _table(data[10:11])
    icc, xmp, end = None, None, 0
    while place < len(data):
        kind = data[place : place + 1]
        if kind == b"\x3b":
            end = place + 1
            break
        if kind == b"\x21":
            label, inside, place = data[place + 1 : place + 2], *_sub_blocks(data, place + 2)
            if label == b"\xff" and inside[:1] == [GIF_PROFILE]:
                icc = icc or b"".join(inside[1:])
            elif label == b"\xff" and inside[:1] == [GIF_XMP]:
                start = data.find(GIF_XMP, 0, place) + len(GIF_XMP)
                xmp = xmp or data[start : place - GIF_XMP_TAIL - 1]
        elif kind == b"\x2c":
            _, place = _sub_blocks(data, place + 11 + _table(data[place + 9 : place + 10]))
        else:
            break
    return Facts("GIF", "a GIF", _behind(file, end) if end else (), icc=icc, xmp=xmp)


def _table(flags: bytes) -> int:
    """Bytes of a colour table, by the byte that tells of it."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _sub_blocks(data: bytes, place: int) -> tuple[list[bytes], int]:
    """Blocks up to the empty one, and the place behind it."""
    found = []
    while place < len(data) and (length := data[place]):
        found.append(data[place + 1 : place + 1 + length])
        place += 1 + length
    return found, place + 1


def _behind(file: BinaryIO, end: int) -> tuple[str, ...]:
    """What lies behind the end, in words."""
    size = file.seek(0, os.SEEK_END)
    file.seek(min(end, size))
    if size <= end or not file.read().strip(b"\0\r\n "):
        return ()
    return (behind(size - end),)
