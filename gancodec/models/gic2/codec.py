"""The codec of the gic2 models: levels per block, one projection for all probabilities, means after the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from gancodec.container.spec import CODEC_GIC2
from gancodec.entropy.coder import OnSymbols
from gancodec.errors import CorruptFile
from gancodec.models.gic2.config import HYPER_LIMIT, TOP
from gancodec.models.gic2.integers import EntropyModel
from gancodec.models.gic2.slices import slice_ends
from gancodec.models.gic2.symbols import LAST, Symbols, Wanted, out_of_blocks, pack_list, sent_hyper, unpack_list, walk
from gancodec.models.guidance import UNGUIDED, Guidance
from gancodec.models.importance import block_levels
from gancodec.models.learned import LearnedCodec
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.stream import Frame, Levels, NextCoder
from gancodec.tiling import Area, Progress
from gancodec.types import BLOCK, LATENT_STRIDE, FloatArray, IntArray, Plane, Planes

if TYPE_CHECKING:
    from gancodec.models.gic2.inference import Gic2Network


class Analysis(NamedTuple):
    """Encoder's view of one picture, independent of n: latent (C, h, w) in half precision, hyper (Kh, hb, wb),
    importance (hb, wb) in logit units."""

    latent: NDArray[np.float16]
    hyper: FloatArray
    importance: FloatArray


class Gic2Codec(LearnedCodec[Analysis, Wanted, Symbols]):
    """Encoder and decoder of a model of `models.gic2`."""

    id = CODEC_GIC2
    entropy: EntropyModel
    entropy_class = EntropyModel

    @property
    def network(self) -> Gic2Network:
        return cast("Gic2Network", super().network)

    def analyse(
        self, rgb: NDArray[np.uint8], guidance: Guidance = UNGUIDED, progress: Progress | None = None
    ) -> Analysis:
        analysis = Analysis(*self.network.analyse(rgb, progress))  # type: ignore[arg-type]  # one of them is half
        return analysis._replace(importance=guidance.biased(analysis.importance, BLOCK))

    def levels_at(self, analysis: Analysis, n: float) -> Levels:
        """Levels (hb, wb) of a whole picture at `n`: equation 2 with the calibration of the weights, logit =
        importance + offset - slope * n. And where its slices end."""
        calibration = self.weights.info.calibration
        levels = block_levels(analysis.importance, calibration["logit_offset"] - calibration["logit_slope"] * n)
        position = levels.values * SUBLEVELS + levels.shift
        return levels._replace(slice_ends=slice_ends(self.entropy, self._hyper(analysis.hyper, position), position))

    def wanted_of(self, analysis: Analysis, levels: Levels, area: Area | None = None, trim: int = 0) -> Wanted:
        """Symbols of a picture, or an area of it, at given levels (hb, wb); `trim` is a dead zone."""
        latent, hyper, chosen = analysis.latent, analysis.hyper, levels.values
        if area is not None:
            sites, blocks = area.sites(LATENT_STRIDE), area.sites(BLOCK)
            latent, hyper, chosen = latent[sites], hyper[blocks], chosen[blocks]
        position = chosen * SUBLEVELS + levels.shift
        coded = self._hyper(hyper, position)
        rows, _ = self.entropy.rows_and_keys(coded, position)
        sent = out_of_blocks(rows, position.shape, self.entropy.channels) > 0
        latents = self.network.choose(latent, self._units(coded, position), self.entropy.gains(position), sent, trim)
        return Wanted(
            Symbols(chosen, np.ascontiguousarray(coded.transpose(2, 0, 1)), latents), levels.slice_ends or (LAST,)
        )

    def walk(
        self, next_coder: NextCoder, frame: Frame, wanted: Wanted | None, on_symbols: OnSymbols | None = None
    ) -> Symbols:
        """See `models.gic2.symbols`; both coders have the same order and the same rows."""
        return walk(next_coder, self.entropy, frame, wanted, on_symbols)

    def write(self, wanted: Wanted, frame: Frame) -> tuple[bytes, ...]:
        """The slices of one stream, the first one with the list of all in front."""
        slices = super().write(wanted, frame)
        return (pack_list(slices, wanted.ends) + slices[0], *slices[1:])

    def read(self, slices: tuple[bytes, ...], frame: Frame, on_symbols: OnSymbols | None = None) -> Symbols:
        """Symbols of the slices that are there; those of others are 0. CorruptFile where the stream is damaged."""
        listed, first = unpack_list(slices[0])
        if tuple(map(len, slices[1:])) != listed.lengths[: len(slices) - 1]:
            raise CorruptFile("slices of other lengths than the first one says")
        known = frame._replace(slice_ends=listed.ends[: len(slices)])
        return super().read((first, *slices[1:]), known, on_symbols)

    def slice_lengths(self, first: bytes) -> tuple[int, ...]:
        return unpack_list(first)[0].lengths

    def gathered(self, arrays: Sequence[IntArray]) -> Symbols:
        return Symbols(*arrays)

    def planes(self, symbols: Symbols, frame: Frame) -> Planes:
        """Latents (C, h, w) with gains undone, and positions (hb, wb) in [0, 1]."""
        position = self._position(symbols, frame)
        units = self._units(symbols.hyper.transpose(1, 2, 0), position)
        latent = self.network.latents(units, self.entropy.gains(position), symbols.latents)
        return Plane(latent, LATENT_STRIDE), Plane((np.minimum(position, TOP) / TOP).astype(np.float32), BLOCK)

    def importance_of(self, symbols: Symbols, frame: Frame) -> Plane:
        """Levels (hb, wb) over their range."""
        return Plane(self._position(symbols, frame) / (LEVELS * SUBLEVELS - 1), BLOCK)

    def synthesises(self, realism: float) -> bool:
        """The faithful end invents nothing."""
        return realism > 0

    @staticmethod
    def _position(symbols: Symbols, frame: Frame) -> IntArray:
        return symbols.levels * SUBLEVELS + frame.level_shift

    def _hyper(self, hyper: FloatArray, position: IntArray) -> IntArray:
        """Symbols (hb, wb, Kh) of hyper-latents (Kh, hb, wb)."""
        gained = np.rint(hyper * self.entropy.hyper_gains(position).transpose(2, 0, 1))
        return sent_hyper(self.entropy, position, np.clip(gained, -HYPER_LIMIT, HYPER_LIMIT).astype(np.int32))

    def _units(self, hyper: IntArray, position: IntArray) -> FloatArray:
        """Hyper-latents (hb, wb, Kh), gains undone."""
        undone: FloatArray = hyper.astype(np.float32) / self.entropy.hyper_gains(position)
        return undone
