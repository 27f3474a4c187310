"""The facts of a picture file, whatever its format."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

DAMAGED_PROFILE = "ICC profile is damaged: dropped"


class Samples(NamedTuple):
    """How pixels are stored: bits and kind ("unsigned", "signed", "float") of a sample, and whether 0 is white where
    Pillow takes it for black."""

    bits: int = 8
    kind: str = "unsigned"
    inverted: bool = False


class Crop(NamedTuple):
    """A rectangle (left, top, right, bottom) of stored pixels, before they are turned, and their (width, height)."""

    box: tuple[int, int, int, int]
    stored: tuple[int, int]


@dataclass(frozen=True)
class Facts:
    """What a file says of itself.

    Attributes
    ----------
    format : str
        As Pillow names it; empty where it is none that is read here.
    name : str
        What the file is, with an article, for the user.
    notices : tuple of str
        What of the file is not kept, one line each.
    samples : Samples
    orientation : int or None
        1..8, where the format has a place of its own for it, which then counts alone.
    exif, icc, xmp : bytes or None
        As stored, where Pillow changes or drops them; empty where there is none that is sound.
    coding : (int, int) or None
        Primaries and transfer (ITU-T H.273).
    crop : Crop or None
        What is to be shown of the stored pixels.
    clear : tuple of int, or None
        The one colour that is transparent, in samples as they are stored.
    most_pixels : int or None
        That a file of its size can hold, where that is known.
    by_libtiff : bool
        Libtiff reads it right, and Pillow's own reader does not.
    sound : BinaryIO or None
        The file without what Pillow stumbles over; to be read instead.
    """

    format: str = ""
    name: str = ""
    notices: tuple[str, ...] = ()
    samples: Samples = Samples()
    orientation: int | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    coding: tuple[int, int] | None = None
    crop: Crop | None = None
    clear: tuple[int, ...] | None = None
    most_pixels: int | None = None
    by_libtiff: bool = False
    sound: BinaryIO | None = None


def behind(count: int, what: str = "") -> str:
    """What lies behind the end of a picture, for the user."""
    return f"not kept: {what}{count} byte{'' if count == 1 else 's'} behind the picture"


def behind_end(file: BinaryIO, end: int) -> tuple[str, ...]:
    """What of a file lies behind the end of its picture, for the user; nothing where it is padding."""
    size = file.seek(0, os.SEEK_END)
    file.seek(min(end, size))
    if size <= end or not file.read().strip(b"\0\r\n "):
        return ()
    return (behind(size - end),)
