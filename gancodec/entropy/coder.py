"""What the traversal asks of a coder; range and Huffman coders, writers and readers, all look like this."""

from __future__ import annotations

from typing import Protocol

from gancodec.types import IntArray


class Coder(Protocol):
    """Codes symbols by table row. Writers return what they are given, readers return what they decode."""

    def code(self, rows: IntArray, symbols: IntArray | None) -> IntArray:
        """Code N symbols under tables `rows` (N,); `symbols` (N,) to write, None to read. Returns the symbols."""
        ...

    def finish(self) -> bytes:
        """Return the bytes written; a reader raises CorruptFile unless every byte was consumed and returns b""."""
        ...
