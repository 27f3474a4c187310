"""What the configurations of all models have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Config:
    """Name, as in ``--model``, and numeric id, as in the file header and never reused, of a model of a codec id."""

    name: str
    id: int
    codec: ClassVar[int]
