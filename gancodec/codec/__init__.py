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

__all__ = [
    "Allocation",
    "DecodeOptions",
    "EncodeOptions",
    "Encoded",
    "decode",
    "decode_bytes",
    "encode",
    "encode_picture",
    "read_allocation",
    "read_symbols",
    "verify_bytes",
]
