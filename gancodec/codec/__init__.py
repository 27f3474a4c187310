"""The room that joins container, entropy coder and models. `api` is its door; nothing here imports torch until a
network runs."""

from gancodec.codec.api import (
    Allocation,
    DecodeOptions,
    Encoded,
    EncodeOptions,
    decode,
    decode_bytes,
    encode,
    encode_picture,
    read_allocation,
    read_symbols,
    verify_bytes,
)
from gancodec.codec.options import Box, parse_box

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
