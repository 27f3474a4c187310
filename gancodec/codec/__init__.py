"""The room that joins container, entropy coder and models. `api` is its door, which is imported at the first use of a
name; nothing here imports torch until a network runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gancodec.options import Box, DecodeOptions, EncodeOptions, parse_box

if TYPE_CHECKING:
    from gancodec.codec.api import (
        Encoded,
        decode,
        decode_bytes,
        encode,
        encode_picture,
        read_allocation,
        read_symbols,
        verify_bytes,
    )
    from gancodec.models.codec import Allocation

__all__ = [
    "Allocation",
    "Box",
    "DecodeOptions",
    "EncodeOptions",
    "Encoded",
    "decode",
    "decode_bytes",
    "encode",
    "encode_picture",
    "parse_box",
    "read_allocation",
    "read_symbols",
    "verify_bytes",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("gancodec.codec.api"), name)
