"""The tunable codec: joins model, entropy coder and container. One encode/decode pair for every model of
`models.config.MODELS`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.coder import Coder
from gancodec.entropy.context import EntropyModel
from gancodec.entropy.huffman import HuffmanReader, HuffmanWriter
from gancodec.entropy.rangecoder import RangeReader, RangeWriter
from gancodec.entropy.tables import Tables
from gancodec.entropy.walk import TARGET_BITS, Target, walk
from gancodec.errors import MissingWeights, UnsupportedFile
from gancodec.models.config import LEVELS, SUBLEVELS, logit_to_level
from gancodec.types import FloatArray, Geometry, IntArray, Symbols
from gancodec.weights import Weights

if TYPE_CHECKING:
    from gancodec.codec.network import Network
    from gancodec.codec.view import Progress

CODEC_ID = 0
CODERS = {"range": 0, "huffman": 1}
FINE_BLOCKS, FINE_SHARE = 48, 0.25  # least blocks, and greatest share that moves at once, for n alone to steer finely
TILED_FROM = 1 << 22  # padded pixels: smaller pictures are one stream
TILE_SIDE = 2048  # pixels; 1024 costs another 0.3 % of the bits (docs/decisions.md)
TARGET_LIMIT = 1 << 22  # of gained latents in 1/256 steps, beyond what any symbol can reach


class Analysis(NamedTuple):
    """Encoder's view of one picture, independent of n: omega (K, h, w), hyper (Kh, hb, wb), importance (hb, wb) in
    logit units."""

    omega: FloatArray
    hyper: FloatArray
    importance: FloatArray


class Stream(NamedTuple):
    """A coded picture: the bytes of the IMAGE chunk, the header's level shift, and what a decoder will read from
    them."""

    data: bytes
    level_shift: int
    symbols: Symbols


@lru_cache(maxsize=4)
def _entropy_model(weights: Weights) -> EntropyModel:
    try:
        model = EntropyModel(weights.entropy)
    except (LookupError, ValueError) as error:  # arrays that are missing, or of shapes that do not fit each other
        raise MissingWeights(f"model {weights.info.name}: entropy arrays do not fit: {error!r}") from error
    if model.hash != weights.info.entropy_hash:  # files name the model by this hash
        raise MissingWeights(f"model {weights.info.name}: entropy arrays are not those that the manifest names")
    return model


class TunableCodec:
    """Encoder and decoder of one model.

    Parameters
    ----------
    weights : Weights
    device : {"auto", "cpu", "cuda"}
        Where the networks run. The integer part always runs on the CPU and never imports torch.
    """

    def __init__(self, weights: Weights, device: str = "auto") -> None:
        self.weights, self.device = weights, device
        self.entropy = _entropy_model(weights)

    @property
    def network(self) -> Network:
        """Encoder, masker and generator on the device; importing torch waits for the first use."""
        from gancodec.codec.network import load_network

        return load_network(self.weights, self.device)

    def analyse(self, rgb: NDArray[np.uint8], progress: Progress | None = None) -> Analysis:
        """Run encoder and masker once on (H, W, 3) uint8 pixels."""
        return Analysis(*self.network.analyse(rgb, progress))

    def tile_side(self, geometry: Geometry) -> int | None:
        """Side in pixels of the tiles that a picture is cut into; None for one that is not."""
        height, width = geometry.padded
        return TILE_SIDE if height * width > TILED_FROM and max(height, width) > TILE_SIDE else None

    def code(self, analysis: Analysis, geometry: Geometry, n: float, coder: str = "range", deadzone: int = 0) -> Stream:
        """Code an analysed picture at `n`; nothing but integers below the first line. See `Target` for the deadzone."""
        target, shift = self.target_at(analysis, n)
        data, symbols = self.write(target._replace(deadzone=deadzone), geometry, shift, coder)
        return Stream(data, shift, symbols)

    def write(self, target: Target, geometry: Geometry, level_shift: int, coder: str) -> tuple[bytes, Symbols]:
        """One stream, and what a decoder will read from it."""
        writer = _writer(coder, self.entropy.tables)
        symbols = walk(writer, self.entropy, geometry, level_shift, target)
        return writer.finish(), symbols

    def target_at(self, analysis: Analysis, n: float) -> tuple[Target, int]:
        """Levels, gains and quantised targets at `n`, with the level shift."""
        levels, shift = self.levels_at(analysis.importance, n)
        return self.target_of(analysis, levels, shift), shift

    def levels_at(self, importance: FloatArray, n: float) -> tuple[IntArray, int]:
        """Levels (hb, wb) of a whole picture at `n`, with the level shift.

        Equation 2 with the calibration of the weights: logit = importance + offset - slope * n. Where many blocks
        differ in importance, a small step of n moves a few of them by a level, which is as fine as anybody needs.
        Small maps, and maps of few values, have no such steps: there the level shift moves all blocks by sixteenths
        of a level. (Blocks beyond an end are lifted with the others each time these pass a whole level.)
        """
        calibration = self.weights.info.calibration
        centre = logit_to_level(calibration["logit_offset"] - calibration["logit_slope"] * n)
        relative = (logit_to_level(1.0) - logit_to_level(0.0)) * importance
        if _moves_by_block(relative):
            levels, shift = np.rint(centre + relative), 0
        else:
            whole, shift = divmod(int(np.floor(centre * SUBLEVELS)), SUBLEVELS)
            levels = np.rint(whole + relative)
            if levels.max() < 0:  # beyond the ends nothing moves any more
                shift = 0
            elif levels.min() >= LEVELS:
                shift = SUBLEVELS - 1
        return np.clip(levels, 0, LEVELS - 1).astype(np.int32), shift

    def target_of(self, analysis: Analysis, levels: IntArray, level_shift: int) -> Target:
        """Quantised targets of a picture, or a part of one, at given levels (hb, wb)."""
        position = levels.astype(np.int64) * SUBLEVELS + level_shift
        scale = float(1 << 16)
        hyper = np.rint(analysis.hyper * (self.entropy.hyper_gain[position].transpose(2, 0, 1) / scale))
        gain = self.entropy.gain[position.repeat(4, 0).repeat(4, 1)].transpose(2, 0, 1) / scale
        gained = np.clip(np.rint(analysis.omega * gain * (1 << TARGET_BITS)), -TARGET_LIMIT, TARGET_LIMIT)
        return Target(levels, np.clip(hyper, -(1 << 14), 1 << 14).astype(np.int32), gained.astype(np.int32))

    def read(self, data: bytes, geometry: Geometry, level_shift: int, coder: str) -> Symbols:
        """Symbols of an IMAGE chunk; CorruptFile where it is damaged."""
        reader = _reader(coder, self.entropy.tables, data)
        symbols = walk(reader, self.entropy, geometry, level_shift, None)
        reader.finish()
        return symbols

    def block_bits(self, data: bytes, geometry: Geometry, level_shift: int, coder: str) -> NDArray[np.float64]:
        """Bits that each block costs in an IMAGE chunk, (hb, wb); they add up to the chunk's.

        Symbols count with their code length under their table. What belongs to no block (level map, the coder's last
        word; with Huffman, what runs of zeros save) is shared in proportion.
        """
        bits = np.zeros(geometry.blocks)

        def watch(rows: NDArray[np.int64], symbols: NDArray[np.int64], blocks: tuple[Any, Any]) -> None:
            coded = rows > 0
            cost = np.zeros(rows.shape)
            cost[coded] = self.entropy.tables.bits(rows[coded].astype(np.int32), symbols[coded].astype(np.int32))
            np.add.at(bits, blocks, cost.sum(-1))

        reader = _reader(coder, self.entropy.tables, data)
        walk(reader, self.entropy, geometry, level_shift, None, watch)
        reader.finish()
        if not bits.any():
            bits += 1  # nothing but the level map
        shared: NDArray[np.float64] = bits * (8 * len(data) / bits.sum())
        return shared

    def generator_input(self, symbols: Symbols, level_shift: int) -> tuple[FloatArray, FloatArray]:
        """What the generator takes: latents (K, h, w) with gains undone and fractional levels (hb, wb)."""
        position = symbols.levels.astype(np.int64) * SUBLEVELS + level_shift
        return self._undo_gains(symbols, position), (position / SUBLEVELS).astype(np.float32)

    def _undo_gains(self, symbols: Symbols, position: NDArray[np.int64]) -> FloatArray:
        sites = position.repeat(4, 0).repeat(4, 1)
        gain = self.entropy.gain[sites].transpose(2, 0, 1).astype(np.float32)
        latent = symbols.dequantised16.astype(np.float32) * np.float32((1 << 16) / 16) / gain
        depth: IntArray = self.entropy.depth[sites // SUBLEVELS].astype(np.int32)
        result: FloatArray = np.where(np.arange(self.entropy.channels)[:, None, None] < depth, latent, np.float32(0))
        return result


def _moves_by_block(relative: FloatArray) -> bool:
    """Does a small step of n move few enough blocks (hb, wb), given in levels around any centre?

    Blocks are rounded to whole levels, so those with about the same fractional part move together, however far apart.
    """
    parts = np.sort(relative % 1, axis=None)
    around = np.concatenate([parts, parts + 1])
    together = np.searchsorted(around, parts + 1 / SUBLEVELS) - np.arange(parts.size)
    return bool(parts.size >= FINE_BLOCKS and together.max() <= FINE_SHARE * parts.size)


def _writer(coder: str, tables: Tables) -> Coder:
    return HuffmanWriter(tables) if coder == "huffman" else RangeWriter(tables)


def _reader(coder: str, tables: Tables, data: bytes) -> Coder:
    return HuffmanReader(tables, data) if coder == "huffman" else RangeReader(tables, data)


def coder_name(number: int) -> str:
    """Name of a coder id of the header; UnsupportedFile for an unknown one."""
    for name, known in CODERS.items():
        if known == number:
            return name
    raise UnsupportedFile(f"entropy coder {number} is not known to this build")
