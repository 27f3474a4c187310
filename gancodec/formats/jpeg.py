"""JPEG: its kind, the ICC profile in its segments, and what lies behind its end (ITU-T T.81; ICC.1, annex B.4)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import BinaryIO

from gancodec.formats.facts import Facts, Samples, behind

SIGNATURE = b"\xff\xd8\xff"
ICC, PICTURES = b"ICC_PROFILE\0", b"MPF\0"  # how such segments begin
SHORT = re.compile(rb"\xff\xe2\x00(?:\x0eICC_PROFILE\0|\x0fICC_PROFILE\0.)", re.DOTALL)
APP2, END = 0xE2, 0xD9
MOST_PICTURES, MOST_PADDING = 64, 1 << 16  # behind the first; bytes of zeros before each
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}
ARITHMETIC = 0xC8  # markers of frames beyond it are coded so, and may take less than a bit a block
PIXELS_A_BYTE = 8 * 64  # of blocks of 8x8 that take a bit each
LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # one that has a length or is the end
VIDEO = b"ftyp"


def look(file: BinaryIO) -> Facts:
    """Facts of a JPEG file."""
    file.seek(0)
    data = file.read()
    end, frame, segments = walk(data)
    parts = [part for part in segments if part.startswith(ICC)]
    icc, wrong = profile(parts)
    short = any(len(part) < len(ICC) + 2 for part in parts)  # which Pillow stumbles over
    bits, count, lossless = 8, 3, ""
    if len(frame) >= 7:
        bits, count, lossless = frame[1], frame[6], "lossless " if frame[0] in LOSSLESS else ""
    name = f"a {lossless}JPEG of {count} component{'' if count == 1 else 's'} of {bits} bits"
    rest = _behind(data, end, any(part.startswith(PICTURES) for part in segments)) if end else None
    notices = tuple(text for text in (wrong, rest) if text)
    sound = io.BytesIO(SHORT.sub(b"", data)) if short else None
    most = None if frame and frame[0] > ARITHMETIC else PIXELS_A_BYTE * len(data)
    return Facts(
        "JPEG", name, notices, Samples(bits), icc=icc or (b"" if parts else None), most_pixels=most, sound=sound
    )


def walk(data: bytes, place: int = 0) -> tuple[int, bytes, list[bytes]]:
    """Where a JPEG picture that starts at `place` ends, 0 where it is cut; its frame header, marker in front; and the
    data of its APP2 segments."""
    frame, segments = b"", list[bytes]()
    place += 2
    while found := MARKER.search(data, place):
        place, marker = found.start(), data[found.start() + 1]
        if marker == END:
            return place + 2, frame, segments
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in FRAMES and not frame:
            frame = bytes((marker,)) + data[place + 4 : place + 2 + length]
        if marker == APP2:
            segments.append(data[place + 4 : place + 2 + length])
        place += 2 + max(length, 2)
    return 0, frame, segments


def _behind(data: bytes, end: int, multi: bool) -> str | None:
    """What lies behind the end, in words; pictures that MPF lists are told of elsewhere."""
    pictures, start = 0, end
    while pictures < MOST_PICTURES and (place := data.find(SIGNATURE, end, end + MOST_PADDING)) >= 0:
        after = 0 if data[end:place].strip(b"\0") else walk(data, place)[0]
        if not after:
            break
        pictures, end = pictures + 1, after
    rest = data[end:]
    if not rest.strip(b"\0\r\n "):
        return behind(end - start, "a further picture of ") if pictures and not multi else None
    return behind(len(rest), "a video of " if VIDEO in rest[:256] else "")


def profile(segments: Iterable[bytes]) -> tuple[bytes | None, str | None]:
    """ICC profile in APP2 segments (each from ICC_PROFILE on), and what is wrong where there should be one."""
    parts: dict[int, bytes] = {}
    counts = set()
    for segment in segments:
        number, count = segment[len(ICC) : len(ICC) + 2].ljust(2, b"\0")
        counts.add(count)
        if parts.setdefault(number, segment[len(ICC) + 2 :]) != segment[len(ICC) + 2 :]:
            return None, f"ICC profile: two parts are number {number}: dropped"
    if not parts:
        return None, None
    count = counts.pop()
    if counts or sorted(parts) != list(range(1, count + 1)):
        return None, f"ICC profile: {len(parts)} of {max({count, *counts})} parts are there: dropped"
    whole = b"".join(parts[number] for number in range(1, count + 1))
    return whole or None, None if whole else "ICC profile is empty: dropped"
