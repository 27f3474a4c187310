"""A codec of slices that needs no weights: it decodes to a gray as light as it has slices, and codes at random."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gancodec.container import Container, Header
from gancodec.models import registry
from gancodec.models.codec import Allocation, Codec, Coded, Decoded, Draft, Start, Symbols, geometry_of
from gancodec.models.guidance import Guidance
from gancodec.options import EncodeOptions
from gancodec.tiling import Progress, View
from gancodec.weights import ModelInfo
from tests.test_container import SLICED

ENTRY = registry.Entry("sliced", "tests.sliced:Sliced")
LIGHT = 40  # what each slice adds


class Sliced(Codec):
    """A codec of slices."""

    id: ClassVar[int] = SLICED.codec

    @classmethod
    def for_model(cls, model: str | int | None, device: str) -> Codec:
        return cls()

    @classmethod
    def for_file(cls, header: Header, model: str | None, device: str) -> Codec:
        return cls()

    @property
    def info(self) -> ModelInfo | None:
        return None

    def load(self) -> None: ...

    def prepare(
        self, rgb: NDArray[np.uint8], guidance: Guidance, options: EncodeOptions, progress: Progress | None = None
    ) -> SlicedDraft:
        return SlicedDraft(replace(SLICED, width=rgb.shape[1], height=rgb.shape[0]))

    def decode(self, parsed: Container, view: View, realism: float, progress: Progress | None = None) -> Decoded:
        slices, cells = len(parsed.streams[0]), view.cells
        rgb = np.full((cells.bottom - cells.top, cells.right - cells.left, 3), LIGHT * slices, np.uint8)
        return Decoded(rgb, notices=(f"{slices} of 4 slices decoded",) if parsed.cut else ())

    def verify(self, parsed: Container) -> None: ...

    def symbols(self, parsed: Container) -> Symbols:
        raise NotImplementedError

    def allocation(self, parsed: Container) -> Allocation:
        raise NotImplementedError


class SlicedDraft(Draft):
    """Streams of bytes at random, fewer the larger the knob, in tiles where the picture is more than one."""

    def __init__(self, header: Header) -> None:
        self._header = header

    @property
    def header(self) -> Header:
        return self._header

    def plain(self) -> Coded:
        return self.at(0.0)

    def start(self, budget: int) -> Start:
        return Start(0.0, -1.0, (-8.0, 8.0))

    def at(self, knob: float, trim: int = 0) -> Coded:
        rng = random.Random(f"{knob} {trim}")
        geometry = geometry_of(self._header)
        tiles = -(-geometry.width // 256) * -(-geometry.height // 256)
        slices = rng.randrange(1, 9)
        streams = tuple(
            tuple(rng.randbytes(int(rng.uniform(0, 60) * 2**-knob)) for _ in range(slices)) for _ in range(tiles)
        )
        return Coded(self._header, streams, 256 if tiles > 1 else None)
