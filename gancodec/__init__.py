"""gancodec: a learned image codec with exact file sizes and the same decode on every machine.

>>> import gancodec
>>> data = gancodec.encode("photo.png", bpp=0.1)   # doctest: +SKIP
>>> image = gancodec.decode(data)                  # doctest: +SKIP

The codec, and PyTorch with it, is imported at the first use of a name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gancodec._version import __version__
from gancodec.errors import (
    CorruptFile,
    CorruptTable,
    GicError,
    MissingExtra,
    MissingWeights,
    OutputExists,
    TargetMissed,
    UnreadablePicture,
    UnsupportedFile,
    UsageError,
)
from gancodec.forks import unforked

if TYPE_CHECKING:
    from gancodec.codec.api import decode, encode
    from gancodec.codec.info import info
    from gancodec.options import DecodeOptions, EncodeOptions

__all__ = [
    "CorruptFile",
    "CorruptTable",
    "DecodeOptions",
    "EncodeOptions",
    "GicError",
    "MissingExtra",
    "MissingWeights",
    "OutputExists",
    "TargetMissed",
    "UnreadablePicture",
    "UnsupportedFile",
    "UsageError",
    "__version__",
    "decode",
    "encode",
    "info",
]

_LAZY = {
    "DecodeOptions": "gancodec.options",
    "EncodeOptions": "gancodec.options",
    "decode": "gancodec.codec.api",
    "encode": "gancodec.codec.api",
    "info": "gancodec.codec.info",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with unforked():
        value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
