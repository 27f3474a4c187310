"""One coded stream of a learned codec, in either direction.

    A, levels, area of a tile ──wanted_of──> W ──write──> slices of bytes           integers from here on
    slices ──read──> S ──planes──> (Plane, ...) ──> generator                       floats again from `planes` on

One traversal, `walk`, is run by writer and reader alike; the coder decides whether it reads or writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gancodec.container import spec
from gancodec.entropy.coder import Coder, Ints, OnSymbols
from gancodec.entropy.huffman import HuffmanReader, HuffmanWriter
from gancodec.entropy.rangecoder import RangeReader, RangeWriter
from gancodec.entropy.tables import IntegerModel, Tables
from gancodec.errors import CorruptFile, MissingWeights, UnsupportedFile
from gancodec.models.codec import Symbols
from gancodec.models.guidance import UNGUIDED, Guidance
from gancodec.tiling import Area, Progress
from gancodec.types import Geometry, IntArray, Plane, Planes
from gancodec.weights import Weights

A = TypeVar("A")  # analysis
W = TypeVar("W")  # what is wanted coded
S = TypeVar("S", bound=Symbols)

NextCoder = Callable[[], Coder]  # the coder of the next slice
CODERS: dict[str, tuple[Callable[[Tables], Coder], Callable[[Tables, bytes], Coder]]] = {
    "range": (RangeWriter, RangeReader),
    "huffman": (HuffmanWriter, HuffmanReader),
}
TILED_FROM = 1 << 22  # padded pixels: smaller pictures are one stream
TILE_SIDE = 2048  # pixels; 1024 costs another 0.3 % of the bits (docs/decisions.md)


class Frame(NamedTuple):
    """What a decoder knows of a stream before it reads it; `coder` is a name of `spec.ENTROPY_CODERS`, `slice_ends`
    where the slices that are there end, in the codec's own measure."""

    geometry: Geometry
    coder: str = "range"
    level_shift: int = 0
    slice_ends: tuple[int, ...] = ()


class Levels(NamedTuple):
    """Importance of a whole picture at one n: integers on the codec's own grid, the header's level shift, and where
    slices end, for all tiles alike, if there are several."""

    values: IntArray
    shift: int = 0
    slice_ends: tuple[int, ...] = ()


class StreamCodec(ABC, Generic[A, W, S]):
    """What a learned codec does with one stream; each has types of its own.

    A, the *analysis*, is what the networks make of a picture, whatever n. W is what is to be coded of it at one n,
    integers only. S are the symbols that a decoder reads.

    Parameters
    ----------
    weights : Weights
    device : {"auto", "cpu", "cuda"}
        Where the networks run. The integer part always runs on the CPU and never imports torch.
    """

    entropy: IntegerModel
    entropy_class: ClassVar[type[IntegerModel]]

    def __init__(self, weights: Weights, device: str = "auto") -> None:
        self.weights, self.device = weights, device
        self.entropy = entropy_model(weights, self.entropy_class)  # type: ignore[arg-type]  # classes can be hashed

    @abstractmethod
    def analyse(self, rgb: NDArray[np.uint8], guidance: Guidance = UNGUIDED, progress: Progress | None = None) -> A:
        """Run the encoder's networks once on (H, W, 3) uint8 pixels."""

    @abstractmethod
    def levels_at(self, analysis: A, n: float) -> Levels:
        """Levels of a whole picture at `n`, before it is cut into tiles."""

    @abstractmethod
    def wanted_of(self, analysis: A, levels: Levels, area: Area | None = None, trim: int = 0) -> W:
        """What to code of a picture, or an area of it on multiples of 64, at the picture's levels.

        With a `trim` there is a little less in it, by about 1/2000 of its bits for each step.
        """

    @abstractmethod
    def walk(self, next_coder: NextCoder, frame: Frame, wanted: W | None, on_symbols: OnSymbols | None = None) -> S:
        """Code one stream in either direction; None is wanted where coders read. A coder is asked for at the start of
        each slice. Returns the symbols as the decoder has them; CorruptFile where the stream is damaged."""

    @abstractmethod
    def gathered(self, arrays: Sequence[IntArray]) -> S:
        """Symbols of a picture from its arrays in order, put together from those of the tiles."""

    @abstractmethod
    def planes(self, symbols: S, frame: Frame) -> Planes:
        """What the generator takes. May compute in float; runs once a stream."""

    @abstractmethod
    def importance_of(self, symbols: S, frame: Frame) -> Plane:
        """Importance of each place in [0, 1], without torch."""

    def tile_side(self, geometry: Geometry) -> int | None:
        """Side in pixels of the tiles that a picture is cut into; None for one that is not."""
        height, width = geometry.padded
        return TILE_SIDE if height * width > TILED_FROM and max(height, width) > TILE_SIDE else None

    def write(self, wanted: W, frame: Frame) -> tuple[bytes, ...]:
        """The slices of one stream."""
        writers: list[Coder] = []

        def next_writer() -> Coder:
            writers.append(CODERS[frame.coder][0](self.entropy.tables))
            return writers[-1]

        self.walk(next_writer, frame, wanted)
        return tuple(writer.finish() for writer in writers)

    def read(self, slices: tuple[bytes, ...], frame: Frame, on_symbols: OnSymbols | None = None) -> S:
        """Symbols of a stream; CorruptFile where it is damaged."""
        readers: list[Coder] = []

        def next_reader() -> Coder:
            if len(readers) == len(slices):
                raise CorruptFile("cut short: a slice is missing")
            readers.append(CODERS[frame.coder][1](self.entropy.tables, slices[len(readers)]))
            return readers[-1]

        symbols = self.walk(next_reader, frame, None, on_symbols)
        for reader in readers:
            reader.finish()
        if len(readers) < len(slices):
            raise CorruptFile(f"{len(slices) - len(readers)} slices after the last")
        return symbols

    def slice_lengths(self, first: bytes) -> tuple[int, ...]:
        """Bytes of the slices behind the first, as the first one says."""
        return ()

    def block_bits(self, slices: tuple[bytes, ...], frame: Frame) -> NDArray[np.float64]:
        """Bits that each block costs in a stream, (hb, wb); they add up to the stream's.

        Symbols count with their code length under their table. What belongs to no block (level map, the coder's last
        word; with Huffman, what runs of zeros save) is shared in proportion.
        """
        bits = np.zeros(frame.geometry.blocks)

        def count(rows: Ints, symbols: Ints, blocks: tuple[Ints, Ints]) -> None:
            np.add.at(bits, blocks, self.entropy.tables.bits(rows.astype(np.int32), symbols.astype(np.int32)))

        self.read(slices, frame, count)
        if not bits.any():
            bits += 1  # nothing but the level map
        shared: NDArray[np.float64] = bits * (8 * sum(map(len, slices)) / bits.sum())
        return shared


@lru_cache(maxsize=4)
def entropy_model(weights: Weights, kind: type[IntegerModel]) -> IntegerModel:
    """Integer model of `weights`; MissingWeights where the arrays do not fit, or are not those of the manifest."""
    name = weights.info.name
    try:
        model = kind(weights.entropy)
    except (LookupError, ValueError) as error:  # arrays that are missing, or of shapes that do not fit each other
        raise MissingWeights(f"model {name}: entropy arrays do not fit: {error!r}") from error
    if model.hash != weights.info.entropy_hash:  # files name the model by this hash
        raise MissingWeights(f"model {name}: entropy arrays are not those that the manifest names")
    return model


def coder_name(number: int) -> str:
    """Name of a coder id of the header; UnsupportedFile for an unknown one."""
    for name, known in spec.ENTROPY_CODERS.items():
        if known == number:
            return name
    raise UnsupportedFile(f"entropy coder {number} is not known to this build")
