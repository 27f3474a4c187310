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

from gancodec.errors import MissingWeights, UsageError
from gancodec.models.blocks import SLOPE, ResidualBlock
from gancodec.models.config import MODELS
from gancodec.models.tunable import Generator, TunableModel
from gancodec.tiling import cover
from gancodec.types import BLOCK, LATENT_STRIDE, FloatArray, Geometry
from gancodec.weights import Weights

Result = TypeVar("Result")
TILE = 1536  # side of what a tile keeps, in pixels
HALO = 320  # more than the reach of encoder and generator, a multiple of 64
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
        self._prepared: tuple[float, torch.device, Generator] | None = None

    def analyse(self, rgb: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(H, W, 3) uint8 to omega (K, h, w), hyper (Kh, hb, wb) and importance (hb, wb)."""
        return self._guarded(self._analyse, rgb)

    def synthesise(
        self, latent: FloatArray, level: NDArray[np.float64], geometry: Geometry, realism: float
    ) -> NDArray[np.uint8]:
        """Latents (K, h, w) with gains undone and levels (hb, wb) to (H, W, 3) uint8."""
        return self._guarded(self._synthesise, latent, level, geometry, realism)

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

    def _analyse(self, rgb: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray, FloatArray]:
        geometry = Geometry(width=rgb.shape[1], height=rgb.shape[0])
        height, width = geometry.padded
        padded = np.pad(rgb, ((0, height - rgb.shape[0]), (0, width - rgb.shape[1]), (0, 0)), mode="edge")
        omega = torch.empty((1, self.model.config.latent_channels, *geometry.latent), device=self.device)
        for tile in cover(height, width, TILE, HALO):
            top, bottom, left, right = tile.outer
            # The batch axis comes first: added after permute, its stride hides from PyTorch that channels are last.
            x = torch.from_numpy(padded[top:bottom, left:right])[None].to(self.device).permute(0, 3, 1, 2).float() / 255
            part = self.model.encoder.latents(x)
            t, b, u, v = (edge // LATENT_STRIDE for edge in tile.inner)
            y, x0 = t - top // LATENT_STRIDE, u - left // LATENT_STRIDE
            omega[:, :, t:b, u:v] = part[:, :, y : y + b - t, x0 : x0 + v - u]
        hyper, importance = self.model.encoder.hyper(omega), self.model.masker(omega)
        return tuple(v[0].float().cpu().numpy() for v in (omega, hyper, importance))  # type: ignore[return-value]

    def _synthesise(
        self, latent: FloatArray, level: NDArray[np.float64], geometry: Geometry, realism: float
    ) -> NDArray[np.uint8]:
        height, width = geometry.padded
        generate = self._generator(realism)
        out = np.empty((height, width, 3), np.uint8)
        for tile in cover(height, width, TILE, HALO):
            top, bottom, left, right = tile.outer
            sites = np.s_[
                :, top // LATENT_STRIDE : bottom // LATENT_STRIDE, left // LATENT_STRIDE : right // LATENT_STRIDE
            ]
            blocks = np.s_[top // BLOCK : bottom // BLOCK, left // BLOCK : right // BLOCK]
            z = torch.from_numpy(np.ascontiguousarray(latent[sites])).to(self.device)[None]
            z = z.contiguous(memory_format=torch.channels_last)
            levels = torch.from_numpy(level[blocks].astype(np.float32)).to(self.device)[None]
            pixels = generate(z, levels, (top // QUARTER, left // QUARTER)).clamp_(0, 1).mul_(255).round_()
            t, b, u, v = tile.inner
            kept = pixels[0, :, t - top : b - top, u - left : v - left]
            out[t:b, u:v] = kept.permute(1, 2, 0).to("cpu", torch.uint8).numpy()
        return np.ascontiguousarray(out[: geometry.height, : geometry.width])

    def _generator(self, realism: float) -> Generator:
        """The generator at `realism`, made for this device; that of the last realism is kept.

        Each is a module of its own and never changed, so that threads may decode at different realisms.
        """
        prepared = self._prepared
        if prepared is None or prepared[:2] != (realism, self.device):
            generator = self.model.generator_at(realism)
            if self.device.type == "cpu" and fast_bfloat16():
                generator = with_half_trunk(generator)
            prepared = self._prepared = realism, self.device, generator
        return prepared[2]


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
