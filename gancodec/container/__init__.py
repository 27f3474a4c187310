"""Bytes to header and chunks and back; standard library only."""

from gancodec.container.chunks import (
    ChunkInfo,
    Container,
    Cut,
    Start,
    Streams,
    check_pixels,
    chunk_size,
    most_bytes,
    read,
    streams_size,
    write,
)
from gancodec.container.header import MOST_BYTES as MOST_HEADER_BYTES
from gancodec.container.header import Header
from gancodec.container.header import unpack as read_header
from gancodec.container.spec import MAX_PIXELS
from gancodec.container.tiles import Tiles

__all__ = [
    "MAX_PIXELS",
    "MOST_HEADER_BYTES",
    "ChunkInfo",
    "Container",
    "Cut",
    "Header",
    "Start",
    "Streams",
    "Tiles",
    "check_pixels",
    "chunk_size",
    "streams_size",
    "most_bytes",
    "read",
    "read_header",
    "write",
]
