"""Bytes to header and chunks and back; standard library only."""

from gancodec.container.chunks import ChunkInfo, Container, chunk_size, read, write
from gancodec.container.header import Header
from gancodec.container.header import unpack as read_header
from gancodec.container.spec import MAX_PIXELS

__all__ = ["MAX_PIXELS", "ChunkInfo", "Container", "Header", "chunk_size", "read", "read_header", "write"]
