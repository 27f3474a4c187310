"""What a .gic file says about itself, without its picture. Importing this needs no numpy."""

from __future__ import annotations

import os
from os import PathLike
from typing import TYPE_CHECKING, Any

from gancodec.codec.inputs import read_gic
from gancodec.codec.options import settled
from gancodec.container import MAX_PIXELS, Container, read, spec
from gancodec.models.registry import CODECS
from gancodec.options import DecodeOptions

if TYPE_CHECKING:
    from gancodec.codec.inputs import GicSource

CODER_NAMES = {number: name for name, number in spec.CODERS.items()}


def info(source: GicSource, *, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
    """What ``gancodec info --json`` tells about a .gic file, without decoding it; needs neither numpy nor PyTorch.

    Parameters
    ----------
    source : path, bytes or binary file object
        A file object is read from where it stands to its end.
    max_pixels : int
        Larger pictures are refused.

    Returns
    -------
    dict
        That JSON can hold: ``file`` (of a path only), ``format``, ``width`` and ``height`` in pixels, ``bytes``,
        ``bpp``, ``codec``, ``coder``, ``model`` (0 for none), ``model_name``, ``model_hash``, ``model_installed``,
        ``model_experimental``, ``n``, ``level_shift``, ``synthetic_detail``, ``gray``, and ``chunks``, each with name,
        type, offset and bytes.

    Raises
    ------
    UsageError
        For anything else than a path, bytes or a binary file object, and a limit that is no whole number above 0.
    UnreadablePicture
        For a file that is not there or cannot be read.
    CorruptFile, UnsupportedFile
        For damage that a checksum tells, too many pixels, and a newer format.

    Examples
    --------
    >>> gancodec.info("photo.gic")["bpp"]  # doctest: +SKIP
    """
    max_pixels = settled(DecodeOptions(max_pixels=max_pixels), DecodeOptions).max_pixels
    data, start = read_gic(source, max_pixels)
    name = {"file": os.fsdecode(source)} if isinstance(source, str | PathLike) else {}
    return name | describe(data, read(data, max_pixels, start))


def describe(data: bytes, container: Container) -> dict[str, Any]:
    """`info` of a file that has been parsed."""
    from gancodec.weights import known  # and hashlib, which --help need not wait for

    header = container.header
    pixels = header.width * header.height
    model = next((model for model in known() if model.id == header.model), None)
    return {
        "format": ".".join(map(str, data[len(spec.MAGIC) :][:2])),
        "width": header.width,
        "height": header.height,
        "bytes": len(data),
        "bpp": 8 * len(data) / pixels,
        "codec": CODECS[header.codec].name if header.codec in CODECS else str(header.codec),
        "coder": CODER_NAMES.get(header.coder, str(header.coder)),
        "model": header.model,
        "model_name": None if model is None else model.name,
        "model_hash": header.model_hash.hex(),
        "model_installed": model is not None and model.installed and model.entropy_hash == header.model_hash,
        "model_experimental": model is not None and model.experimental,
        "n": header.n / 1000,
        "level_shift": header.level_shift,
        "synthetic_detail": bool(header.flags & spec.FLAG_SYNTHETIC),
        "gray": bool(header.flags & spec.FLAG_GRAY),
        "chunks": [
            {"name": chunk.name, "type": chunk.type, "offset": chunk.offset, "bytes": chunk.length}
            for chunk in container.chunks
        ],
    }
