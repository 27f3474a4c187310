"""The models of this package as codecs under test."""

from __future__ import annotations

import time
from dataclasses import dataclass

from gancodec._version import __version__
from gancodec.codec import DecodeOptions, EncodeOptions, decode_bytes, encode_picture
from gancodec.evaluate.contract import Coded
from gancodec.evaluate.match import TOLERANCE
from gancodec.options import N_BOUNDS
from gancodec.types import Picture, Pixels
from gancodec.weights import ModelInfo


@dataclass(frozen=True)
class Ours:
    """A model at one realism: files come from `encode_picture`, pixels from `decode_bytes`, as users get them."""

    model: ModelInfo
    device: str = "auto"
    realism: float = 0.0
    suffix: str = ".gic"
    unit: str = "n"
    settings: tuple[float, ...] = (3, 2.5, 2, 1.5, 1, 0.5, 0, -0.5, -1, -1.5, -2, -3, -8)

    @property
    def name(self) -> str:
        """Name of the model, with its realism where that is not 0."""
        return self.model.name if self.realism == 0 else f"{self.model.name} beta={self.realism:g}"

    @property
    def fingerprint(self) -> str:
        """Version, hash of the weights, and what the rate search starts from."""
        calibration = " ".join(f"{k}={v:.6g}" for k, v in sorted(self.model.calibration.items()))
        return f"gancodec {__version__}; sha256 {self.model.sha256}; realism {self.realism:g}; {calibration}"

    def open(self, rgb: Pixels) -> OurSession:
        """Start with a picture."""
        return OurSession(self, Picture(rgb))

    def decode(self, data: bytes) -> Pixels:
        """As `gancodec decode --realism` does."""
        return decode_bytes(data, DecodeOptions(device=self.device, realism=self.realism)).rgb


@dataclass(frozen=True)
class OurSession:
    """One picture in one of our models."""

    codec: Ours
    picture: Picture

    def _encode(self, **wanted: float | int) -> Coded:
        options = EncodeOptions(model=self.codec.model.name, device=self.codec.device, **wanted)  # type: ignore[arg-type]
        started = time.perf_counter()
        coded = encode_picture(self.picture, options)
        seconds = time.perf_counter() - started
        assert coded.n is not None  # every learned codec has one
        return Coded(coded.data, coded.n, seconds, seconds, "yes")

    def at_setting(self, setting: float) -> Coded:
        """Encode at n."""
        return self._encode(n=setting)

    def at_size(self, size: int) -> Coded:
        """Let the codec's own rate search find n; the single encode is timed at that n, apart."""
        found = self._encode(size=size)
        once = self.at_setting(found.setting)
        return found._replace(seconds=once.seconds, reached=self._reached(len(found.data), size))

    def _reached(self, got: int, size: int) -> str:
        if abs(got / size - 1) <= TOLERANCE:
            return "yes"
        largest, smallest = (len(self.at_setting(n).data) for n in N_BOUNDS)
        return "nearest" if smallest <= size <= largest else "no"
