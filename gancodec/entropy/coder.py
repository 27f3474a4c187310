"""What the traversal asks of a coder; range and Huffman coders, writers and readers, all look like this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gancodec.types import IntArray

Ints = NDArray[np.int64]
# Told of table rows (N,) and symbols (N,) as they are coded, with the places (y, x), each (N,), that they belong to.
OnSymbols = Callable[[Ints, Ints, tuple[Ints, Ints]], None]


class Coder(Protocol):
    """Codes symbols by table row. Writers return what they are given, readers return what they decode."""

    def code(self, rows: IntArray, symbols: IntArray | None) -> IntArray:
        """Code N symbols under tables `rows` (N,); `symbols` (N,) to write, None to read. Returns the symbols."""
        ...

    def finish(self) -> bytes:
        """Return the bytes written; a reader raises CorruptFile unless every byte was consumed and returns b""."""
        ...
