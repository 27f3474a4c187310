"""GIF: colour profile and XMP in its application extensions, and what lies behind its end (GIF 89a)."""

from __future__ import annotations

from typing import BinaryIO

from gancodec.formats.facts import Facts, behind_end

PROFILE, XMP = b"ICCRGBG1012", b"XMP DataXMP"
PIXELS_A_BYTE = 4096 * 8 // 12  # of the longest strings, in codes of 12 bits
LARGE = 1 << 24  # pixels; smaller screens may be emptier than that
XMP_TAIL = 257  # bytes behind XMP, which lead every reader of sub-blocks to its end


def look(file: BinaryIO) -> Facts:
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
            if label == b"\xff" and inside[:1] == [PROFILE]:
                icc = icc or b"".join(inside[1:])
            elif label == b"\xff" and inside[:1] == [XMP]:
                start = data.find(XMP, 0, place) + len(XMP)
                xmp = xmp or data[start : place - XMP_TAIL - 1]
        elif kind == b"\x2c":
            _, place = _sub_blocks(data, place + 11 + _table(data[place + 9 : place + 10]))
        else:
            break
    most = max(PIXELS_A_BYTE * len(data), LARGE)
    return Facts("GIF", "a GIF", behind_end(file, end) if end else (), icc=icc, xmp=xmp, most_pixels=most)


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
