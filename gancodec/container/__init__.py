"""Bytes to header and chunks and back; standard library only."""

from gancodec.container.chunks import ChunkInfo, Container, chunk_size, image_size, read, write
from gancodec.container.header import Header
from gancodec.container.header import unpack as read_header
from gancodec.container.spec import MAX_PIXELS
from gancodec.container.tiles import Tiles

__all__ = [
    "MAX_PIXELS",
    "ChunkInfo",
    "Container",
    "Header",
    "Tiles",
    "chunk_size",
    "image_size",
    "read",
    "read_header",
    "write",
]
