"""Inputs as streams: files as they are; standard input, pipes and devices, which may have no end, within a limit."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import warnings
from collections.abc import Callable
from typing import BinaryIO

from gancodec.container import spec
from gancodec.errors import UnreadablePicture, UsageError

PIPE = "-"
READ_BLOCK = 1 << 20  # bytes
# What a pipe may have: for each pixel as many as the largest of any picture that is read (RGBA of 16 bits), and others.
PIXEL_BYTES, OTHER_BYTES = 8, 1 << 26


def open_source(source: str, max_pixels: int = spec.MAX_PIXELS) -> BinaryIO:
    """Open an input for reading; pipes are read to their end first.

    Raises
    ------
    UnreadablePicture
        If there is no such file, it cannot be read, or a pipe holds no picture by its first bytes or more than one of
        `max_pixels` can have.
    """
    try:
        if source == PIPE:
            return read_stream(standard_input(), max_pixels)
        handle = open(source, "rb")
        if handle.seekable():
            handle.seek(0, os.SEEK_END)  # not every file that says so can
            handle.seek(0)
            return handle
        with handle:  # a named pipe, or a shell's <(...)
            return read_stream(handle, max_pixels)
    except OSError as error:
        raise UnreadablePicture(f"cannot be read: {reason(error)}") from error


def read_source(source: str, max_pixels: int = spec.MAX_PIXELS) -> bytes:
    """All bytes of an input; UnreadablePicture where they cannot be had, as of `open_source`, of devices too."""
    with open_source(source, max_pixels) as handle:
        try:
            if isinstance(handle, io.BytesIO) or stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
                return handle.read()
            return read_stream(handle, max_pixels).getvalue()
        except OSError as error:
            raise UnreadablePicture(f"cannot be read: {reason(error)}") from error


def read_stream(stream: BinaryIO, max_pixels: int) -> io.BytesIO:
    """A picture or .gic file from what may have no end, and need not be seekable.

    Raises UnreadablePicture by its first bytes, or where it has more than a picture of `max_pixels` can have.
    """
    from gancodec.formats import look  # which `info` need not wait for

    start = b""
    while len(start) < look.HEAD and (part := stream.read(look.HEAD - len(start))):  # which may be less than asked for
        start += part
    if not look.format_of(start) and not start.startswith(spec.MAGIC):
        raise UnreadablePicture(look.refusal(start))
    return read_within(stream, lambda found: OTHER_BYTES + PIXEL_BYTES * _pixels(found, max_pixels), start)


def _pixels(found: bytes, max_pixels: int) -> int:
    """Pixels of a picture by its first bytes; `max_pixels` where there may be more or that is said further on."""
    if found.startswith((b"II", b"MM", b"GIF", spec.MAGIC)):
        return max_pixels
    from PIL import Image

    from gancodec.formats import look

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            width, height = Image.open(io.BytesIO(found), formats=tuple(look.LOOKS)).size
            return min(int(width * height), max_pixels)
    except Image.DecompressionBombError:
        return max_pixels
    except Exception as error:
        raise UnreadablePicture(f"unreadable picture: {error}".splitlines()[0]) from error


def read_small(path: str) -> bytes:
    """All bytes of what is no picture; UnreadablePicture where they cannot be had or are more than OTHER_BYTES."""
    try:
        with open(path, "rb") as stream:
            return read_within(stream).getvalue()
    except OSError as error:
        raise UnreadablePicture(f"cannot be read: {reason(error)}") from error


def read_within(stream: BinaryIO, most_of: Callable[[bytes], int] = len, start: bytes = b"") -> io.BytesIO:
    """`start` and what is left of a stream; UnreadablePicture where that is more than OTHER_BYTES, or than `most_of`
    says by what has been read till then."""
    found, most = io.BytesIO(), OTHER_BYTES
    found.write(start)
    while part := stream.read(READ_BLOCK):
        if most == OTHER_BYTES < found.tell() + len(part):
            most = most_of(found.getvalue())
        found.write(part)
        if found.tell() > most:
            raise UnreadablePicture(f"longer than {most} bytes, the most that is read here")
    found.seek(0)
    return found


def standard_input() -> BinaryIO:
    """Standard input; UnreadablePicture where it is closed, UsageError where it is a terminal."""
    if sys.stdin is None:
        raise UnreadablePicture("standard input is closed")
    if sys.stdin.isatty():
        raise UsageError("not reading a picture from a terminal: pipe one in, or name a file")
    return sys.stdin.buffer


def reason(error: OSError) -> str:
    """What the system says of an error, in words."""
    if error.errno == errno.ENOENT:
        return "no such file"
    return error.strerror or str(error)
