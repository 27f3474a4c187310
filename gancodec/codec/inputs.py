"""What Python programs hand over, as bytes of a .gic file or as a picture. Importing this needs no numpy."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO

from gancodec import container
from gancodec.errors import CorruptFile, UnreadablePicture, UsageError
from gancodec.messages import printable
from gancodec.sources import READ_BLOCK, read_stream, reason

if TYPE_CHECKING:
    from typing import Protocol, TypeAlias

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from gancodec.types import Picture

    class Readable(Protocol):
        """A file object that is open for reading in binary mode; it need not be seekable."""

        def read(self, size: int = -1, /) -> bytes:
            """Up to `size` bytes; none at the end."""
            ...

    GicSource: TypeAlias = str | PathLike[str] | bytes | bytearray | memoryview | Readable
    PictureSource: TypeAlias = GicSource | Image.Image | NDArray[np.uint8]

MOST_NAME = 500  # characters that are told
GIC = "a .gic file is taken as bytes, a path or a binary file object"
PICTURE = (
    "a picture is taken as a path, bytes, a binary file object, a PIL image, or a uint8 numpy array of shape (H, W), "
    "(H, W, 1), (H, W, 2) gray and alpha, (H, W, 3) RGB or (H, W, 4) RGBA"
)


def read_gic(source: GicSource, max_pixels: int) -> tuple[bytes, container.Start]:
    """`read_bounded` of whatever is taken for a .gic file; UsageError for anything else, UnreadablePicture where it
    cannot be read."""
    with _opened(source, GIC) as stream:
        return read_bounded(stream, max_pixels)


def read_bounded(stream: Readable, max_pixels: int) -> tuple[bytes, container.Start]:
    """All bytes of a .gic file, from where `stream` stands to its end, and the header, which is sound.

    Raises CorruptFile and UnsupportedFile by the header, before anything behind it is read: another format, damage,
    more than `max_pixels`, or a file that is longer than any with this header.
    """
    data = b"".join(_blocks(stream, container.MOST_HEADER_BYTES))
    start = container.read_header(data)
    container.check_pixels(start[0], max_pixels)
    most = container.most_bytes(start[0]) - len(data)
    long = CorruptFile("the file is longer than any with its header can be")
    if isinstance(stream, io.IOBase) and stream.seekable():
        here = stream.tell()
        if stream.seek(0, os.SEEK_END) - here > most:
            raise long
        stream.seek(here)
    rest = b"".join(_blocks(stream, most + 1))  # memory for what is there only
    if len(rest) > most:
        raise long
    return data + rest, start


def read_picture(source: PictureSource, max_pixels: int) -> Picture:
    """The picture in whatever is taken for one; UsageError for anything else, UnreadablePicture where it cannot be read
    or has more than `max_pixels`."""
    import numpy as np
    from PIL import Image

    from gancodec import imageio

    if isinstance(source, np.ma.MaskedArray):
        raise UsageError(f"{PICTURE}; not a masked array, whose hidden values would show")
    if isinstance(source, np.ndarray):
        fits = source.ndim == 2 or (source.ndim == 3 and 1 <= source.shape[2] <= 4)
        if source.dtype != np.uint8 or not source.size or not fits:
            raise UsageError(f"{PICTURE}; not {source.dtype} of shape {source.shape}")
        if (pixels := source.shape[0] * source.shape[1]) > max_pixels:
            raise UnreadablePicture(f"an array of {pixels} pixels is more than {max_pixels}")
        source = Image.fromarray(np.ascontiguousarray(source[..., 0] if source.shape[2:] == (1,) else source))
    if isinstance(source, Image.Image):
        return imageio.load(source, max_pixels)
    with _opened(source, PICTURE) as stream:
        return imageio.load(_from_start(stream, max_pixels), max_pixels)


class _Checked:
    """A file object of any kind: UnreadablePicture is what it raises, UsageError where it does not read bytes."""

    def __init__(self, file: Any, told: str) -> None:
        self.file, self.told, self.empty = file, told, True
        self.read(0)

    def read(self, size: int = -1, /) -> bytes:
        try:
            part = self.file.read(size)
        except (TypeError, io.UnsupportedOperation) as error:
            raise UsageError(f"{self.told}; this one cannot be read so: {_reason(error)}") from error
        except Exception as error:
            raise UnreadablePicture(f"the file object cannot be read: {_reason(error)}") from error
        if not isinstance(part, bytes | bytearray | memoryview):
            raise UsageError(f"{self.told}; this file object reads {type(part).__name__}")
        self.empty = self.empty and not part
        if self.empty and size:
            raise UnreadablePicture("the file object has nothing to read; does it stand at its end?")
        return bytes(part)


def _from_start(stream: Any, max_pixels: int) -> BinaryIO:
    """The stream as a file that starts where it stands."""
    file = stream.file if isinstance(stream, _Checked) else stream
    with suppress(Exception):
        if file.seekable() and file.tell() == 0:
            return file  # type: ignore[no-any-return]
    return read_stream(stream, max_pixels)


def _blocks(stream: Readable, most: int) -> Iterator[bytes]:
    """What there is to read, up to `most` bytes."""
    while most > 0 and (block := stream.read(min(most, READ_BLOCK))):
        most -= len(block)
        yield block


@contextmanager
def _opened(source: object, told: str) -> Iterator[Any]:
    """A stream of what `source` names, holds or is; raises as `read_gic` does."""
    if isinstance(source, str | PathLike):
        name = f"{printable(str(source)[:MOST_NAME])}: cannot be read"
        try:
            handle = open(source, "rb")
        except (OSError, ValueError, TypeError) as error:  # ValueError: a zero in the name
            raise UnreadablePicture(f"{name}: {_reason(error)}") from error
        try:
            with handle:
                yield handle
        except OSError as error:
            raise UnreadablePicture(f"{name}: {_reason(error)}") from error
    elif hasattr(source, "read"):
        yield _Checked(source, told)
    else:
        try:
            view = memoryview(source)  # type: ignore[arg-type]
            data = view.tobytes() if view.format in ("B", "b", "c") and view.ndim else None
        except (TypeError, ValueError, BufferError):
            data = None
        if data is None:
            raise UsageError(f"{told}; not {'None' if source is None else type(source).__name__}")
        yield io.BytesIO(data)


def _reason(error: Exception) -> str:
    return printable((reason(error) if isinstance(error, OSError) else str(error)) or type(error).__name__)
