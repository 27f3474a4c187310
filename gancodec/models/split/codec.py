"""The split codec of the paper, section 4: salient cells at full resolution, the rest shrunk, each as a WebP stream.

    picture ──── x mask ──── gap filled ──── WebP ──┐
       └─ D ─ x (1 - mask) ─ gap filled ──── WebP ──┤
                                                    ├── file
    mask, a bit a cell ───────────── deflate ───────┘

and back, in the paper's order: 1. downscale the salient picture; 2. add the downscaled salient and the other picture;
3. upscale the sum; 4. fill the gaps of the salient picture with it. "We have to add the two downsampled images first,
otherwise there will be stitching artifacts due to upscaling interpolation": near a border the upscaling of step 3
looks at both sides of it. D is the mean of factor x factor pixels, and cells are a multiple of every factor, so no
small pixel mixes both sides: D(x mask) + D(x (1 - mask)) = D(x) exactly, each term being 0 where the other is not.

Takes maps, never a saliency method. Needs neither a model nor torch, and OpenCV only to encode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from gancodec import container
from gancodec.container import Container, Header, spec
from gancodec.container.spec import CELL, CODEC_SPLIT
from gancodec.errors import UnsupportedFile, UsageError
from gancodec.models.codec import Allocation, Codec, Coded, Decoded, Draft, Map, Start, geometry_of
from gancodec.models.guidance import Guidance
from gancodec.models.split import image
from gancodec.models.split.config import CODERS
from gancodec.models.split.image import QUALITY, STEPS
from gancodec.models.split.layers import Cells, Layers, padded, take_apart
from gancodec.options import EncodeOptions
from gancodec.tiling import Progress, View
from gancodec.types import Geometry, Plane
from gancodec.weights import ModelInfo

FIRST_STEP, RATE_SLOPE = 26.0, -0.015  # about QUALITY, and what a step does to log size: where the rate search starts
SALIENT = 0.5  # of a map: from here on a pixel is salient


class SplitCodec(Codec):
    """The only codec of its kind: it has no models and no networks, and its knob is WebP's quantiser step."""

    id = CODEC_SPLIT

    @classmethod
    def for_model(cls, model: str | int | None, device: str) -> Codec:
        """The codec; UsageError where a model is named."""
        if model is not None:
            raise UsageError(f"model {model}: files of the split codec have none")
        return cls()

    @classmethod
    def for_file(cls, header: Header, model: str | None, device: str) -> Codec:
        return cls.for_model(model, device)

    @property
    def info(self) -> ModelInfo | None:
        return None

    def load(self) -> None:
        """There is nothing to load."""

    def prepare(
        self, rgb: NDArray[np.uint8], guidance: Guidance, options: EncodeOptions, progress: Progress | None = None
    ) -> Draft:
        """Take a picture (H, W, 3) apart; MissingExtra where a saliency map finds no OpenCV."""
        geometry = Geometry(width=rgb.shape[1], height=rgb.shape[0])
        layers = take_apart(rgb, salient_cells(guidance, geometry), options.factor)
        quality = None if options.inner == "lossless" else QUALITY
        return SplitDraft(layers, quality, CODERS[options.inner], geometry)

    def decode(self, parsed: Container, view: View, realism: float, progress: Progress | None = None) -> Decoded:
        """Put the picture together, and take the view from it."""
        rgb = image.decode(parsed.image, geometry_of(parsed.header), parsed.header.coder)
        return Decoded(view.taken_from(rgb))

    def verify(self, parsed: Container) -> None:
        image.read_layers(parsed.image, geometry_of(parsed.header), parsed.header.coder)

    def symbols(self, parsed: Container) -> NoReturn:
        """UnsupportedFile: WebP keeps its symbols to itself."""
        raise UnsupportedFile("files of the split codec have no coded symbols and no levels")

    def allocation(self, parsed: Container) -> Allocation:
        """Which cells are kept at full resolution."""
        cells, factor = _cells(parsed)
        kept = float(cells.mean())
        shown = Map("kept", f"full resolution (the rest is shrunk by {factor})", Plane(cells.astype(np.float64), CELL))
        summary = f"{100 * kept:.0f} % at full resolution, the rest shrunk by {factor}"
        return Allocation((shown,), None, {"kept_share": kept, "factor": factor}, summary)


@dataclass(frozen=True)
class SplitDraft(Draft):
    """A picture taken apart, whose knob is the quantiser's step; `quality` None is lossless."""

    layers: Layers
    quality: float | None
    coder: int
    geometry: Geometry

    @property
    def header(self) -> Header:
        """The same at every rate."""
        width, height = self.geometry.width, self.geometry.height
        return Header(width, height, 0, bytes(8), SplitCodec.id, self.coder, 0, 0, 0)

    def plain(self) -> Coded:
        """Both layers at the usual quality, or lossless."""
        return Coded(self.header, ((image.encode(self.layers, self.quality, self.quality),),))

    def start(self, budget: int) -> Start:
        """The same for all pictures."""
        return Start(FIRST_STEP, RATE_SLOPE, STEPS)

    def at(self, knob: float, trim: int = 0) -> Coded:
        """Both layers at a step, the rest coarser by the trim."""
        return Coded(self.header, ((image.encode_at(self.layers, knob, trim),),))


def salient_cells(asked: Guidance, geometry: Geometry) -> Cells:
    """The cells to keep at full resolution: every one that has a salient pixel.

    Salient is what the adaptive mask of a saliency map (section 5.1), a region of interest and protected parts have
    from 0.5 on. A larger share than one pixel was measured to be worse, of salient pixels and of all, at equal bytes.

    Returns
    -------
    (h, w) bool
        Of the picture padded to whole cells. MissingExtra where a saliency map finds no OpenCV.
    """
    wished = [asked.region, asked.protection]
    if asked.saliency is not None:
        from gancodec.saliency import adaptive_mask

        wished.append(adaptive_mask(asked.saliency))
    mask = np.zeros((geometry.height, geometry.width), np.bool_)
    for values in wished:
        if values is not None:
            mask[values >= SALIENT] = True
    whole = padded(mask)
    return np.asarray(whole.reshape(whole.shape[0] // CELL, CELL, -1, CELL).any((1, 3)), np.bool_)


def read_cells(data: bytes, max_pixels: int = spec.MAX_PIXELS) -> tuple[Cells, int]:
    """Salient cells (h, w) and factor of a file of the split codec; raises as decoding does, and UnsupportedFile for
    files of another codec."""
    parsed = container.read(data, max_pixels=max_pixels)
    if parsed.header.codec != SplitCodec.id:
        raise UnsupportedFile("not a file of the split codec")
    return _cells(parsed)


def _cells(parsed: Container) -> tuple[Cells, int]:
    cells, factor, _ = image.parse(parsed.image, geometry_of(parsed.header), parsed.header.coder)
    return cells, factor
