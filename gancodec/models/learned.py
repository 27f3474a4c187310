"""What every learned codec is to the rest of the package: rate search, tiles, container and evaluation know no more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.coder import Coder
from gancodec.entropy.huffman import HuffmanReader, HuffmanWriter
from gancodec.entropy.rangecoder import RangeReader, RangeWriter
from gancodec.errors import MissingWeights, UnsupportedFile
from gancodec.models.gic1.symbols import Symbols
from gancodec.tiling import Area
from gancodec.types import FloatArray, Geometry, IntArray
from gancodec.weights import Weights

if TYPE_CHECKING:
    from gancodec.models.inference import Network
    from gancodec.tiling import Progress

CODERS = {"range": 0, "huffman": 1}
TILED_FROM = 1 << 22  # padded pixels: smaller pictures are one stream
TILE_SIDE = 2048  # pixels; 1024 costs another 0.3 % of the bits (docs/decisions.md)


class Stream(NamedTuple):
    """A coded picture: the bytes of the IMAGE chunk, the header's level shift, and what a decoder will read from
    them."""

    data: bytes
    level_shift: int
    symbols: Symbols


class Codec(ABC):
    """Encoder and decoder of one model.

    An *analysis* is what the networks make of a picture, whatever n, with `importance` among it; a *target* is what is
    to be coded of it at one n, integers only; *levels* are the importance at one n, in integers too. Each codec has
    types of its own for the first two.

    Parameters
    ----------
    weights : Weights
    device : {"auto", "cpu", "cuda"}
        Where the networks run. The integer part always runs on the CPU and never imports torch.

    Attributes
    ----------
    id : int
        In the file header.
    stride, importance_stride : int
        Pixels per site of the generator's input, and per value of the importance.
    symbol_strides : tuple of int
        Pixels per value of each array of `Symbols`.
    """

    id: ClassVar[int]
    stride: ClassVar[int]
    importance_stride: ClassVar[int]
    symbol_strides: ClassVar[tuple[int, int, int, int]]
    entropy: Any

    def __init__(self, weights: Weights, device: str = "auto") -> None:
        self.weights, self.device = weights, device

    @property
    def network(self) -> Network:
        """Encoder, masker and generator on the device; importing torch waits for the first use."""
        from gancodec.models.inference import load_network

        return load_network(self.weights, self.device)

    @abstractmethod
    def analyse(self, rgb: NDArray[np.uint8], progress: Progress | None = None) -> Any:
        """Run encoder and masker once on (H, W, 3) uint8 pixels."""

    @abstractmethod
    def levels_at(self, importance: FloatArray, n: float) -> tuple[IntArray, int]:
        """Levels of a whole picture at `n`, shaped like its importance, with the header's level shift."""

    @abstractmethod
    def target_of(self, analysis: Any, levels: IntArray, level_shift: int, area: Area | None = None) -> Any:
        """Target of a picture, or an area of it on multiples of 64, at the picture's levels."""

    @abstractmethod
    def trimmed(self, target: Any, amount: int) -> Any:
        """The target with a little less in it, about 1/2000 of its bits for each step of `amount`."""

    @abstractmethod
    def walk(self, coder: Coder, name: str, geometry: Geometry, level_shift: int, target: Any, watch: Any) -> Symbols:
        """Code one picture in either direction with a coder of that name; without a target to read.

        `watch`, where it is not None, is told of the rows, symbols, and blocks (y, x) of what is coded, each (N,).
        """

    @abstractmethod
    def generator_input(self, symbols: Symbols, level_shift: int) -> tuple[FloatArray, FloatArray]:
        """What the generator takes: latents (K, h, w) and fractional levels (hb, wb)."""

    @abstractmethod
    def block_levels(self, symbols: Symbols, level_shift: int) -> NDArray[np.int64]:
        """Importance of each block (hb, wb) in sixteenths of a level of gic1."""

    @abstractmethod
    def synthesises(self, realism: float) -> bool:
        """May detail that is decoded at this realism be invented?"""

    def tile_side(self, geometry: Geometry) -> int | None:
        """Side in pixels of the tiles that a picture is cut into; None for one that is not."""
        height, width = geometry.padded
        return TILE_SIDE if height * width > TILED_FROM and max(height, width) > TILE_SIDE else None

    def code(self, analysis: Any, geometry: Geometry, n: float, coder: str = "range", trim: int = 0) -> Stream:
        """Code an analysed picture at `n` in one stream; see `trimmed`."""
        target, shift = self.target_at(analysis, n)
        data, symbols = self.write(self.trimmed(target, trim), geometry, shift, coder)
        return Stream(data, shift, symbols)

    def target_at(self, analysis: Any, n: float) -> tuple[Any, int]:
        """Target of a whole picture at `n`, with the level shift."""
        levels, shift = self.levels_at(analysis.importance, n)
        return self.target_of(analysis, levels, shift), shift

    def write(self, target: Any, geometry: Geometry, level_shift: int, coder: str) -> tuple[bytes, Symbols]:
        """One stream, and what a decoder will read from it."""
        tables = self.entropy.tables
        writer = HuffmanWriter(tables) if coder == "huffman" else RangeWriter(tables)
        symbols = self.walk(writer, coder, geometry, level_shift, target, None)
        return writer.finish(), symbols

    def read(self, data: bytes, geometry: Geometry, level_shift: int, coder: str, watch: Any = None) -> Symbols:
        """Symbols of a stream; CorruptFile where it is damaged."""
        tables = self.entropy.tables
        reader = HuffmanReader(tables, data) if coder == "huffman" else RangeReader(tables, data)
        symbols = self.walk(reader, coder, geometry, level_shift, None, watch)
        reader.finish()
        return symbols

    def block_bits(self, data: bytes, geometry: Geometry, level_shift: int, coder: str) -> NDArray[np.float64]:
        """Bits that each block costs in a stream, (hb, wb); they add up to the stream's.

        Symbols count with their code length under their table. What belongs to no block (level map, the coder's last
        word; with Huffman, what runs of zeros save) is shared in proportion.
        """
        bits = np.zeros(geometry.blocks)

        def watch(rows: NDArray[np.int64], symbols: NDArray[np.int64], blocks: tuple[Any, Any]) -> None:
            np.add.at(bits, blocks, self.entropy.tables.bits(rows.astype(np.int32), symbols.astype(np.int32)))

        self.read(data, geometry, level_shift, coder, watch)
        if not bits.any():
            bits += 1  # nothing but the level map
        shared: NDArray[np.float64] = bits * (8 * len(data) / bits.sum())
        return shared


def checked(weights: Weights, build: Any) -> Any:
    """Integer model of `weights`; MissingWeights where the arrays do not fit, or are not those of the manifest."""
    try:
        model = build(weights.entropy)
    except (LookupError, ValueError) as error:  # arrays that are missing, or of shapes that do not fit each other
        raise MissingWeights(f"model {weights.info.name}: entropy arrays do not fit: {error!r}") from error
    if model.hash != weights.info.entropy_hash:  # files name the model by this hash
        raise MissingWeights(f"model {weights.info.name}: entropy arrays are not those that the manifest names")
    return model


def coder_name(number: int) -> str:
    """Name of a coder id of the header; UnsupportedFile for an unknown one."""
    for name, known in CODERS.items():
        if known == number:
            return name
    raise UnsupportedFile(f"entropy coder {number} is not known to this build")
