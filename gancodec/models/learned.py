"""The door of the learned codecs, the same for all: analysis, levels at n, tiles, the generator. What is a codec's own
is in `models.stream.StreamCodec`."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
from numpy.typing import NDArray

from gancodec.container import Container, Header, spec
from gancodec.errors import CorruptFile, MissingWeights
from gancodec.models import registry, tiled
from gancodec.models.codec import Allocation, Codec, Coded, Decoded, Draft, Map, Start
from gancodec.models.curve import TunabilityCurve
from gancodec.models.guidance import Guidance
from gancodec.models.stream import A, S, StreamCodec, W, coder_name
from gancodec.options import N_BOUNDS, EncodeOptions
from gancodec.tiling import Progress, View
from gancodec.types import Geometry, is_gray
from gancodec.weights import ModelInfo, find, get

if TYPE_CHECKING:
    from gancodec.models.inference import Network

SYNTHETIC_NOTE = "Decoded by gancodec{at}: fine detail may be synthesised and not in the original."


class LearnedCodec(StreamCodec[A, W, S], Codec):
    """Encoder and decoder of one learned model; see `StreamCodec` for what each has to say."""

    @classmethod
    def for_model(cls, model: str | int | None, device: str) -> Codec:
        return cls(get(model), device)

    @classmethod
    def for_file(cls, header: Header, model: str | None, device: str) -> Codec:
        coder_name(header.coder)
        info = find(model if model is not None else header.model)
        if info.entropy_hash != header.model_hash:
            raise MissingWeights(
                f"written with entropy model {header.model_hash.hex()}, but {info.name} here is"
                f" {info.entropy_hash.hex()}"
            )
        if registry.config_of(info.name).codec != header.codec:
            raise CorruptFile(f"header: codec {header.codec} is not that of model {info.name}")
        return cls(get(info.name), device)

    @abstractmethod
    def synthesises(self, realism: float) -> bool:
        """May detail that is decoded at this realism be invented?"""

    @property
    def info(self) -> ModelInfo:
        return self.weights.info

    @property
    def network(self) -> Network[Any]:
        """Encoder, masker and generator on the device; importing torch waits for the first use."""
        from gancodec.models.inference import load_network

        return load_network(self.weights, self.device)

    def load(self) -> None:
        _ = self.network

    def prepare(
        self, rgb: NDArray[np.uint8], guidance: Guidance, options: EncodeOptions, progress: Progress | None = None
    ) -> LearnedDraft[A, W, S]:
        geometry = Geometry(width=rgb.shape[1], height=rgb.shape[0])
        analysis = self.analyse(rgb, guidance, progress)
        return LearnedDraft(self, analysis, geometry, options, is_gray(rgb), progress)

    def decode(self, parsed: Container, view: View, realism: float, progress: Progress | None = None) -> Decoded:
        reader = tiled.Reader(self, parsed)
        reader.check_first(view.area)
        gray = bool(parsed.header.flags & spec.FLAG_GRAY)
        rgb = self.network.synthesise(reader, reader.geometry, realism, view, progress, gray)
        at = "" if self.info.default_realism is None else f" at realism {realism:g}"
        notices = () if parsed.cut is None else ("{} of {} slices decoded".format(*reader.slices),)
        return Decoded(rgb, SYNTHETIC_NOTE.format(at=at) if self.synthesises(realism) else None, notices)

    def verify(self, parsed: Container) -> None:
        for _ in tiled.Reader(self, parsed).each():
            pass

    def symbols(self, parsed: Container) -> S:
        return tiled.Reader(self, parsed).symbols()

    def allocation(self, parsed: Container) -> Allocation:
        """Importance that was coded, and bits of each block."""
        reader = tiled.Reader(self, parsed)
        importance, bits = reader.importance(), reader.block_bits()
        facts = {
            "blocks": bits.values.size,
            "importance_min": float(importance.values.min()),
            "importance_max": float(importance.values.max()),
            "bits_per_block_min": float(bits.values.min()),
            "bits_per_block_max": float(bits.values.max()),
            "coded_bits": float(bits.values.sum()),
            "hq_ratio": float((bits.values > bits.values.mean()).mean()),
        }
        summary = (
            f"importance {facts['importance_min']:.2f} .. {facts['importance_max']:.2f}, "
            f"{facts['bits_per_block_min']:.0f} .. {facts['bits_per_block_max']:.0f} bits a block, "
            f"{100 * facts['hq_ratio']:.0f} % of the blocks above the mean"
        )
        return Allocation((Map("importance", "importance, 0 to 1", importance),), bits, facts, summary)


class LearnedDraft(Draft, Generic[A, W, S]):
    """An analysed picture, whose knob is n."""

    def __init__(
        self,
        codec: LearnedCodec[A, W, S],
        analysis: A,
        geometry: Geometry,
        options: EncodeOptions,
        gray: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.codec, self.analysis, self.geometry, self.options = codec, analysis, geometry, options
        self.progress = progress
        most_natural = 0.0 if codec.info.default_realism is None else 1.0
        self.flags = spec.FLAG_SYNTHETIC * codec.synthesises(most_natural) | spec.FLAG_GRAY * gray

    @property
    def header(self) -> Header:
        """Of a file at n = 0."""
        info = self.codec.info
        return Header(
            width=self.geometry.width,
            height=self.geometry.height,
            model=info.id,
            model_hash=info.entropy_hash,
            codec=self.codec.id,
            coder=spec.ENTROPY_CODERS[self.options.entropy],
            flags=self.flags,
            n=0,
            level_shift=0,
        )

    def plain(self) -> Coded:
        """The picture at the n of the options, else 0."""
        return self.at(self.options.n or 0.0)

    def start(self, budget: int) -> Start:
        """Where the tunability curve of the weights sends a search."""
        curve = TunabilityCurve.from_calibration(self.codec.info.calibration)
        guess = curve.n_at(math.log(max(8 * budget, 1) / math.prod(self.geometry.padded)), N_BOUNDS)
        return Start(guess, curve.slope(guess), N_BOUNDS)

    def at(self, knob: float, trim: int = 0) -> Coded:
        """The picture at n, in tiles where it is large."""
        coder, levels = self.options.entropy, self.codec.levels_at(self.analysis, knob)
        streams = tiled.encode(self.codec, self.analysis, self.geometry, levels, coder, trim, self.progress)
        header = replace(self.header, n=round(knob * 1000), level_shift=levels.shift)
        return Coded(header, streams, self.codec.tile_side(self.geometry), knob)
