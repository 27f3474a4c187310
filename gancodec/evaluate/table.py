"""A table of results: columns, and rows of cells with their text. Knows nothing of what is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

DASH = "–"
Cell = str | float | int | None


class Column(NamedTuple):
    """Head of a column: name in the rows, label, what it is, decimals, and which way is better."""

    name: str
    label: str
    hint: str = ""
    digits: int | None = None
    better: str = ""


@dataclass(frozen=True)
class Table:
    """Columns, and rows as cells by column name."""

    columns: tuple[Column, ...] = ()
    rows: tuple[dict[str, Cell], ...] = ()


def text_of(value: Cell, column: Column) -> str:
    """A cell as text: numbers with the column's decimals, a dash for what is absent."""
    if value is None:
        return DASH
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if isinstance(value, float):
        return f"{value:.{4 if column.digits is None else column.digits}f}"
    return str(value)
