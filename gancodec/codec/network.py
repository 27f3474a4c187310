"""The float half of the codec: encoder, masker and generator on a device, tile by tile. With `onnx_export`, the only
file here that imports torch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gancodec.codec.view import Progress, View
from gancodec.errors import MissingWeights, UsageError
from gancodec.models.blocks import SLOPE, ResidualBlock
from gancodec.models.config import MODELS
from gancodec.models.tunable import Generator, TunableModel
from gancodec.tiling import Area, cover
from gancodec.types import BLOCK, LATENT_STRIDE, FloatArray, Geometry
from gancodec.weights import Weights

Result = TypeVar("Result")
# Latents (K, h, w) with gains undone and levels (hb, wb) in [0, L-1], both float32 and contiguous, of an area on
# multiples of 64.
Source = Callable[[Area], tuple[FloatArray, FloatArray]]
TILE = 2048  # side of what a tile keeps, in pixels
ENCODER_HALO = 128  # more than the reach of encoder, masker and hyper-encoder, a multiple of 64
# Not quite the reach of the generator, whose far end weighs nothing: what is cut off moved pixels of photographs by at
# most 0.006 of 255 (docs/decisions.md; tests/test_tiling.py), and would make tiles a tenth larger.
GENERATOR_HALO = 192
QUARTER = 4  # pixels per site of the generator's noise


class HalfBlock(nn.Module):
    """`ResidualBlock` with its convolutions in bfloat16, for inference. (B, C, h, w) float32 to the same.

    The sum stays in float32: only the block's correction is rounded, so errors do not grow from block to block.
    """

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.first, self.second = (copy.deepcopy(c).to(torch.bfloat16) for c in (block.first, block.second))

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus its correction."""
        inner = nn.functional.leaky_relu_(self.first(x.to(torch.bfloat16)), SLOPE)
        corrected: Tensor = x + self.second(inner)
        return corrected


def fast_bfloat16() -> bool:
    """Does this CPU compute bfloat16 convolutions in hardware? No, where PyTorch does not tell."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


def with_half_trunk(generator: Generator) -> Generator:
    """Compute the trunk of `generator` in half blocks; returns it.

    Pixels move by at most 0.12 of 255 on photographs and 0.7 on random squares. With the blocks at 1/8 in half blocks
    as well the latter would move by up to 1.9, and decoders would no longer agree within a rounding step.
    """
    generator.trunk = nn.Sequential(*map(HalfBlock, generator.trunk))  # type: ignore[arg-type]
    return generator


def reduced(generator: Generator, factor: int) -> Generator:
    """Make `generator` give the means of factor x factor pixels (1, 2, 4 or 8); returns it.

    A mean of what a convolution makes is what the mean of its kernels makes: the last one then has fewer outputs.
    """
    if factor == 1:
        return generator
    last: nn.Conv2d = generator.to_rgb[0]  # type: ignore[assignment]
    inner = min(factor, QUARTER)  # of the sub-pixels, which lie in the channels
    left = QUARTER // inner
    shape = (3, left, inner, left, inner)
    weight = last.weight.detach().reshape(*shape, *last.weight.shape[1:]).mean((2, 4)).flatten(0, 2)
    layer = nn.Conv2d(last.in_channels, len(weight), last.kernel_size, padding=last.padding, device="meta")  # type: ignore[arg-type]
    assert last.bias is not None
    bias = last.bias.detach().reshape(shape).mean((2, 4)).flatten()
    layer.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    generator.to_rgb = nn.Sequential(layer, nn.PixelShuffle(left), nn.AvgPool2d(factor // inner))
    return generator


class Network:
    """Networks of one model on one device. Out of CUDA memory, it goes on with the CPU and says so (a warning)."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        if weights.info.name not in MODELS:
            raise MissingWeights(
                f"model {weights.info.name}: weights are here, but this build does not know the architecture"
            )
        model = TunableModel(MODELS[weights.info.name], natural=weights.info.default_realism is not None)
        # Released weights of gic1-small hold an unused array of zeros by this name.
        used = {k: v for k, v in weights.network.items() if not k.endswith(".realism.weight")}
        state = {k: torch.from_numpy(v.astype(np.float32)) for k, v in used.items()}
        try:
            missing, unexpected = model.load_state_dict(state, strict=False)
        except RuntimeError as error:  # an array of another shape
            raise MissingWeights(f"model {weights.info.name}: weights do not fit the architecture") from error
        # The gains live among the frozen integers, which alone may decide a bit.
        if unexpected or any(not k.startswith(("gains.", "hyper_gains.")) for k in missing):
            raise MissingWeights(f"model {weights.info.name}: weights do not fit the architecture")
        self.model = model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device
        self._prepared: tuple[tuple[float, int, torch.device], Generator] | None = None

    def analyse(
        self, rgb: NDArray[np.uint8], progress: Progress | None = None
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(H, W, 3) uint8 to omega (K, h, w), hyper (Kh, hb, wb) and importance (hb, wb)."""
        return self._guarded(self._analyse, rgb, progress)

    def synthesise(
        self,
        source: Source,
        geometry: Geometry,
        realism: float,
        view: View | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.uint8]:
        """Pixels (H, W, 3) uint8 of a picture, or of the `view` of it.

        `source` is asked for no more than a few tiles at a time, from the top to the bottom.
        """
        return self._guarded(self._synthesise, source, geometry, realism, view or View.whole(geometry), progress)

    def _guarded(self, work: Callable[..., Result], *arguments: Any) -> Result:
        try:
            with torch.inference_mode():
                return work(*arguments)
        except torch.OutOfMemoryError:
            warnings.warn("out of GPU memory: going on with the CPU", RuntimeWarning, stacklevel=2)
            torch.cuda.empty_cache()
            self.device = torch.device("cpu")
            self.model = self.model.to(self.device)
            with torch.inference_mode():
                return work(*arguments)

    def _analyse(self, rgb: NDArray[np.uint8], progress: Progress | None) -> tuple[FloatArray, FloatArray, FloatArray]:
        geometry = Geometry(width=rgb.shape[1], height=rgb.shape[0])
        encoder, config = self.model.encoder, self.model.config
        tiles = list(cover(*geometry.padded, TILE, ENCODER_HALO))
        omega = torch.empty((1, config.latent_channels, *geometry.latent), device=self.device)
        for done, tile in enumerate(tiles):
            # The batch axis comes first: added after permute, its stride hides from PyTorch that channels are last.
            x = torch.from_numpy(_padded(rgb, tile.outer))[None].to(self.device).permute(0, 3, 1, 2).float() / 255
            kept = tile.inner.seen_from(tile.outer)
            omega[tile.inner.sites(LATENT_STRIDE)] = encoder.latents(x)[kept.sites(LATENT_STRIDE)]
            if progress is not None:
                progress(done + 1, len(tiles))
        hyper = torch.empty((1, config.hyper_channels, *geometry.blocks), device=self.device)
        scores = torch.empty((1, *geometry.blocks), device=self.device)
        for tile in tiles:
            z = omega[tile.outer.sites(LATENT_STRIDE)]
            place, blocks = tile.inner.sites(BLOCK), tile.inner.seen_from(tile.outer).sites(BLOCK)
            hyper[place] = encoder.hyper(z)[blocks]
            scores[place] = self.model.masker.scores(z)[blocks]
        importance = self.model.masker.standardise(scores)
        return tuple(v[0].float().cpu().numpy() for v in (omega, hyper, importance))  # type: ignore[return-value]

    def _synthesise(
        self, source: Source, geometry: Geometry, realism: float, view: View, progress: Progress | None
    ) -> NDArray[np.uint8]:
        generate = self._generator(realism, view.reduce)
        tiles = list(cover(*geometry.padded, TILE, GENERATOR_HALO, view.area.grown(BLOCK)))
        cells = view.cells
        out = np.empty((cells.bottom - cells.top, cells.right - cells.left, 3), np.uint8)
        for done, tile in enumerate(tiles):
            latent, level = source(tile.outer)
            z = torch.from_numpy(latent).to(self.device)[None].contiguous(memory_format=torch.channels_last)
            levels = torch.from_numpy(level).to(self.device)[None]
            pixels = generate(z, levels, (tile.outer.top // QUARTER, tile.outer.left // QUARTER))
            kept = view.cells_of(tile.inner).common(cells)
            assert kept is not None  # tiles cover the view and no block more
            rows, columns = kept.seen_from(view.cells_of(tile.outer)).slices()
            part = pixels[0, :, rows, columns].clamp(0, 1).mul_(255).round_()
            out[kept.seen_from(cells).slices()] = part.permute(1, 2, 0).to("cpu", torch.uint8).numpy()
            if progress is not None:
                progress(done + 1, len(tiles))
        return out

    def _generator(self, realism: float, reduce: int = 1) -> Generator:
        """The generator at `realism`, made for this device; that of the last realism is kept.

        Each is a module of its own and never changed, so that threads may decode at different realisms.
        """
        prepared = self._prepared
        key = realism, reduce, self.device
        if prepared is None or prepared[0] != key:
            generator = reduced(self.model.generator_at(realism), reduce)
            if self.device.type == "cpu" and fast_bfloat16():
                generator = with_half_trunk(generator)
            prepared = self._prepared = key, generator
        return prepared[1]


def _padded(rgb: NDArray[np.uint8], area: Area) -> NDArray[np.uint8]:
    """An area of a picture, whose edges are repeated where the area reaches beyond its right and bottom."""
    part = rgb[area.slices()]
    below, right = area.bottom - area.top - part.shape[0], area.right - area.left - part.shape[1]
    return np.pad(part, ((0, below), (0, right), (0, 0)), mode="edge")


def pick_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU; UsageError where CUDA is asked for and absent."""
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device {name}: choose auto, cpu or cuda")
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise UsageError("device cuda: no CUDA device here")
    return torch.device("cuda" if cuda and name != "cpu" else "cpu")


@lru_cache(maxsize=4)
def load_network(weights: Weights, device: str) -> Network:
    """Network of `weights` on `device`, kept for the next picture."""
    return Network(weights, pick_device(device))
