"""What a codec is to the rest of the package: a picture to a file and back at any rate, and where its bits went.

    encode   rgb, guidance ──prepare──> Draft ──at(knob, trim)──> Coded ──> container        once; then once a probe
    decode   container ──decode(view, realism)──> Decoded             verify, allocation, symbols: the same way

Rate search, container, tiles, batches and evaluation know no more, and never which codec it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gancodec.container import Container, Header
from gancodec.errors import UsageError
from gancodec.models.guidance import Guidance
from gancodec.options import EncodeOptions
from gancodec.tiling import Progress, View
from gancodec.types import Geometry, Plane, Planes
from gancodec.weights import ModelInfo


class Coded(NamedTuple):
    """A picture coded at one setting.

    header : with n and level shift
    streams : of each tile, one where there are none; each has the same number of *slices*, bytes that have a chunk of
        their own
    tile_side : pixels; None where there are no tiles
    n : as it was asked for; None where the codec has none
    """

    header: Header
    streams: tuple[tuple[bytes, ...], ...]
    tile_side: int | None = None
    n: float | None = None


class Start(NamedTuple):
    """Where rate search starts: first value of the knob, d log(size) / d knob (negative), least and greatest value."""

    guess: float
    slope: float
    bounds: tuple[float, float]


class Draft(ABC):
    """A picture that its codec has looked at, ready to be coded at any rate."""

    @property
    @abstractmethod
    def header(self) -> Header:
        """Of a file of it, as long as at any rate."""

    @abstractmethod
    def plain(self) -> Coded:
        """The picture where no size is asked for."""

    @abstractmethod
    def start(self, budget: int) -> Start:
        """Where to look for what makes `budget` bytes of coded data."""

    @abstractmethod
    def at(self, knob: float, trim: int = 0) -> Coded:
        """The picture at a value of the knob; a trim 1, 2, ... takes a little off, in ever larger amounts."""


class Decoded(NamedTuple):
    """Pixels (H, W, 3) uint8 of a view, a note for the user where detail may be invented, and what else the user should
    know, one line each: of a file that is cut, how much of it was decoded."""

    rgb: NDArray[np.uint8]
    comment: str | None = None
    notices: tuple[str, ...] = ()


class Map(NamedTuple):
    """A map to show: short name, title, and values in [0, 1]."""

    name: str
    title: str
    plane: Plane


class Allocation(NamedTuple):
    """Where the bits of a file went.

    maps : the first one is the importance that the encoder gave each place, in [0, 1]
    bits : of the streams, by block; None where they are not known apart
    facts : figures by name
    summary : one line for the user
    """

    maps: tuple[Map, ...]
    bits: Plane | None
    facts: dict[str, float]
    summary: str


class Symbols(Protocol):
    """What a codec decodes: a NamedTuple of integer arrays of its own."""

    @property
    def grids(self) -> Planes:
        """The arrays in order, with the pixels that a value of each stands for."""
        ...


class Codec(ABC):
    """Encoder and decoder of one codec of the format, of one model where it has models."""

    id: ClassVar[int]  # in the file header

    @classmethod
    @abstractmethod
    def for_model(cls, model: str | int | None, device: str) -> Codec:
        """The codec of a model by name or id, or of the default model; MissingWeights where it is not installed."""

    @classmethod
    @abstractmethod
    def for_file(cls, header: Header, model: str | None, device: str) -> Codec:
        """The codec that can decode a file, with another model's networks where one is named.

        Raises UnsupportedFile, MissingWeights, CorruptFile where header and model contradict each other, and UsageError
        for a model that has no place.
        """

    @property
    @abstractmethod
    def info(self) -> ModelInfo | None:
        """Its model in the manifest; None for a codec without models."""

    @abstractmethod
    def load(self) -> None:
        """Load what the first picture would have to wait for, and keep it."""

    @abstractmethod
    def prepare(
        self, rgb: NDArray[np.uint8], guidance: Guidance, options: EncodeOptions, progress: Progress | None = None
    ) -> Draft:
        """Look at a picture (H, W, 3) once, whatever its rate will be."""

    @abstractmethod
    def decode(self, parsed: Container, view: View, realism: float, progress: Progress | None = None) -> Decoded:
        """Decode a view of a parsed file; CorruptFile where it is damaged."""

    @abstractmethod
    def verify(self, parsed: Container) -> None:
        """Read all that is coded, without torch; CorruptFile where it is damaged."""

    @abstractmethod
    def symbols(self, parsed: Container) -> Symbols:
        """Every symbol of a picture, without torch; UnsupportedFile for a codec that has none."""

    @abstractmethod
    def allocation(self, parsed: Container) -> Allocation:
        """Where the bits went, without torch; CorruptFile where the file is damaged."""


def geometry_of(header: Header) -> Geometry:
    """Geometry of the picture in a file."""
    return Geometry(width=header.width, height=header.height)


def realism_of(asked: float | None, default: float | None, name: str) -> float:
    """Realism to decode with; UsageError for one that the model or codec of this name, with its default, has not."""
    if asked is None:
        return default or 0.0
    if not 0 <= asked <= 1:
        raise UsageError(f"realism {asked:g}: must be in [0, 1]")
    if asked > 0 and default is None:
        raise UsageError(f"realism {asked:g}: {name} has 0 (most faithful) only")
    return asked
