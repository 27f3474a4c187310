"""Measure a model's tunability curve: mean bits per pixel of real files at fixed n, and the least-squares fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gancodec import container, imageio
from gancodec.codec import EncodeOptions, encode_picture
from gancodec.errors import UnreadablePicture
from gancodec.models.curve import fit
from gancodec.sources import open_source
from gancodec.weights import ModelInfo

DEFAULT_NS = tuple(float(n) for n in np.arange(3, -4.01, -0.5))


@dataclass(frozen=True)
class Measured:
    """Mean rates at each n.

    bpp : of whole files.
    coded : of the coded pictures alone, per pixel after padding, as geometric means: what the rate search steers by, as
        it wants the least error in log rate for a picture it has not seen.
    """

    model: ModelInfo
    pictures: int
    ns: tuple[float, ...]
    bpp: tuple[float, ...]
    coded: tuple[float, ...]

    def line(self) -> tuple[list[float], list[float]]:
        """n and fitted bits per pixel of whole files, close enough to draw."""
        shown = fit(self.ns, self.bpp)
        ns = [float(n) for n in np.linspace(min(self.ns), max(self.ns), 121)]
        return ns, [float(np.exp(shown.log_bpp(n))) for n in ns]

    def as_json(self) -> dict[str, Any]:
        """Points and fit, for the record; `calibration` is what the rate search takes."""
        shown = fit(self.ns, self.bpp)
        logs = [np.log(b) - shown.log_bpp(n) for n, b in zip(self.ns, self.bpp, strict=True)]
        points = zip(self.ns, self.bpp, self.coded, strict=True)
        return {
            "model": self.model.name,
            "sha256": self.model.sha256,
            "pictures": self.pictures,
            "points": [{"n": n, "bpp": b, "coded_bpp": c} for n, b, c in points],
            "fit": {
                "what": "ln(bpp) = sum of coefficients[i] * n**i, least squares",
                "coefficients": list(shown.coefficients),
                "rms_error_percent": 100 * float(np.sqrt(np.mean(np.square(logs)))),
            },
            "calibration": fit(self.ns, self.coded).to_calibration(),
        }


def measure(
    paths: Sequence[str], ns: Sequence[float], model: ModelInfo, device: str, step: Callable[[], None]
) -> Measured:
    """Encode every picture at every n; `step` is called after each picture.

    Raises UnreadablePicture for a picture that cannot be read: a mean over the others would be of another set.
    """
    rates = np.zeros((len(paths), len(ns), 2))
    for i, path in enumerate(paths):
        try:
            with open_source(path) as stream:
                picture = imageio.load(stream)
        except UnreadablePicture as error:
            raise UnreadablePicture(f"{path}: {error}") from error
        bare = type(picture)(picture.rgb)  # metadata and alpha belong to the picture, not to the model
        padded = np.prod(picture.geometry.padded)
        for j, n in enumerate(ns):
            coded = encode_picture(bare, EncodeOptions(n=n, model=model.name, device=device))
            parsed = container.read(coded.data)
            rates[i, j] = coded.bpp, 8 * sum(map(len, (parsed.image, *parsed.more))) / padded
        step()
    bpp = rates[..., 0].mean(0)
    coded_bpp = np.exp(np.log(rates[..., 1]).mean(0))
    return Measured(model, len(paths), tuple(ns), tuple(map(float, bpp)), tuple(map(float, coded_bpp)))
