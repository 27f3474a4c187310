"""The float half of a learned codec: its networks on a device, tile by tile. What is a model's own is in the
`inference` of its folder."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gancodec.errors import GicError, MissingWeights, UsageError
from gancodec.models import registry
from gancodec.options import DEVICES
from gancodec.tiling import Area, Progress, Tile, View, cover
from gancodec.types import BLOCK, FloatArray, Geometry, Planes
from gancodec.weights import Weights

Result = TypeVar("Result")
M = TypeVar("M", bound=nn.Module)
# The planes of an area on multiples of 64, as the codec's `planes` gives them.
Source = Callable[[Area], Planes]
# A tensor (1, ...) for each plane, and the place (row, column) of their area in pixels, to pixels (1, 3, H, W), not
# clipped.
Generate = Callable[[tuple[Tensor, ...], tuple[int, int]], Tensor]
TILE = 2048  # side of what a tile keeps, in pixels
LUMA = (0.299, 0.587, 0.114)  # of R, G and B (ITU-R BT.601)


class Port(NamedTuple):
    """An input or output of a graph: (B, channels, rows, columns), or (B, rows, columns) where channels is None, with a
    value every `stride` pixels."""

    name: str
    channels: int | None
    stride: int
    dtype: torch.dtype = torch.float32


class Graph(NamedTuple):
    """A part of a model as a module of its own, for programs that run it without PyTorch."""

    module: nn.Module
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]


class Analyser(nn.Module):
    """The `analyse` of a model as a module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """rgb (B, 3, H, W) in [0, 1] to the arrays of the model's analysis."""
        return tuple(self.model.analyse(rgb))  # type: ignore[operator]


class Network(ABC, Generic[M]):
    """Networks of one model on one device. Out of CUDA memory, it goes on with the CPU and says so (a warning).

    Attributes
    ----------
    encoder_halo, generator_halo : int
        Pixels that a tile sees beyond what it keeps, multiples of 64.
    elsewhere : tuple of str
        Parameters whose names begin so are not among the weights: they live among the frozen integers, which alone may
        decide a bit.
    """

    encoder_halo: ClassVar[int]
    generator_halo: ClassVar[int]
    elsewhere: ClassVar[tuple[str, ...]] = ()

    def __init__(self, weights: Weights, device: torch.device) -> None:
        model = self.architecture(weights)
        try:
            state = {k: torch.from_numpy(v) for k, v in weights.network_floats().items() if self.is_used(k)}
            missing, unexpected = model.load_state_dict(state, strict=False)
        except (RuntimeError, KeyError, ValueError) as error:  # an array of another shape, a matrix without its scale
            raise MissingWeights(f"model {weights.info.name}: weights do not fit the architecture") from error
        missing = [k for k in missing if not k.startswith(self.elsewhere) and not k.endswith("num_batches_tracked")]
        if unexpected or missing:
            raise MissingWeights(f"model {weights.info.name}: weights do not fit the architecture")
        self.model: M = self.prepared(model.eval()).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device

    @abstractmethod
    def architecture(self, weights: Weights) -> M:
        """The model, with any weights."""

    def is_used(self, name: str) -> bool:
        """Is there a place for an array of the weights?"""
        return True

    def prepared(self, model: M) -> M:
        """The model with its weights, made ready for inference."""
        return model

    @abstractmethod
    def _analyse(
        self, rgb: NDArray[np.uint8], tiles: list[Tile], geometry: Geometry, progress: Progress | None
    ) -> tuple[Tensor, ...]:
        """Arrays of the codec's analysis, with a batch axis."""

    @abstractmethod
    def _generator(self, realism: float, reduce: int = 1) -> Generate:
        """The generator at `realism` on this device, giving the means of reduce x reduce pixels."""

    @abstractmethod
    def graphs(self, realism: float) -> tuple[Graph, Graph]:
        """Encoder and generator, at a realism in [0, 1], with the planes of the codec as its inputs in order."""

    def analyse(self, rgb: NDArray[np.uint8], progress: Progress | None = None) -> tuple[FloatArray, ...]:
        """(H, W, 3) uint8 to the arrays of the codec's analysis, in order, floats."""
        geometry = Geometry(width=rgb.shape[1], height=rgb.shape[0])
        tiles = list(cover(*geometry.padded, TILE, self.encoder_halo))
        arrays = self._guarded(self._analyse, rgb, tiles, geometry, progress)
        return tuple(v[0].cpu().numpy() for v in arrays)

    def synthesise(
        self,
        source: Source,
        geometry: Geometry,
        realism: float,
        view: View | None = None,
        progress: Progress | None = None,
        gray: bool = False,
    ) -> NDArray[np.uint8]:
        """Pixels (H, W, 3) uint8 of a picture, or of the `view` of it; of a gray one the luma, three times.

        `source` is asked for no more than a few tiles at a time, from the top to the bottom.
        """
        view = view or View.whole(geometry)
        return self._guarded(self._synthesise, source, geometry, realism, view, progress, gray)

    def _guarded(self, work: Callable[..., Result], *arguments: Any) -> Result:
        if self.device.type == "cuda":
            pick_device("cuda")  # a fork may have come between
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

    def _pixels(self, rgb: NDArray[np.uint8], area: Area) -> Tensor:
        """Pixels (1, 3, H, W) in [0, 1] of an area of the padded picture, on the device."""
        # The batch axis comes first: added after permute, its stride hides from PyTorch that channels are last.
        return torch.from_numpy(_padded(rgb, area))[None].to(self.device).permute(0, 3, 1, 2).float() / 255

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        """A plane on the device, with a batch axis; channels last where it has channels."""
        tensor = torch.from_numpy(values).to(self.device)[None]
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

    def _synthesise(
        self, source: Source, geometry: Geometry, realism: float, view: View, progress: Progress | None, gray: bool
    ) -> NDArray[np.uint8]:
        generate = self._generator(realism, view.reduce)
        tiles = list(cover(*geometry.padded, TILE, self.generator_halo, view.area.grown(BLOCK)))
        cells = view.cells
        out = np.empty((cells.bottom - cells.top, cells.right - cells.left, 3), np.uint8)
        for done, tile in enumerate(tiles):
            planes = tuple(self._tensor(plane.values) for plane in source(tile.outer))
            pixels = generate(planes, (tile.outer.top, tile.outer.left))
            kept = view.cells_of(tile.inner).common(cells)
            assert kept is not None  # tiles cover the view and no block more
            rows, columns = kept.seen_from(view.cells_of(tile.outer)).slices()
            part = pixels[0, :, rows, columns]
            if gray:
                part = part[0:1] * LUMA[0] + part[1:2] * LUMA[1] + part[2:3] * LUMA[2]
            part = part.clamp(0, 1).mul_(255).round_()
            out[kept.seen_from(cells).slices()] = part.permute(1, 2, 0).to("cpu", torch.uint8).numpy()
            if progress is not None:
                progress(done + 1, len(tiles))
        return out


def _padded(rgb: NDArray[np.uint8], area: Area) -> NDArray[np.uint8]:
    """An area of a picture, whose edges are repeated beyond its right and bottom."""
    height, width, _ = rgb.shape
    part = rgb[min(area.top, height - 1) : area.bottom, min(area.left, width - 1) : area.right]
    below, right = area.bottom - area.top - part.shape[0], area.right - area.left - part.shape[1]
    return np.pad(part, ((0, below), (0, right), (0, 0)), mode="edge")


def pick_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU.

    Raises UsageError where CUDA is asked for and absent, GicError where it is that of a process which this one was
    forked from.
    """
    if name not in DEVICES:
        raise UsageError(f"device {name}: choose {', '.join(DEVICES)}")
    if name == "cpu":
        return torch.device(name)
    owner = _owner_of_cuda()
    if name == "cuda" and owner is None:
        raise UsageError("device cuda: no CUDA device here")
    if owner not in (None, os.getpid()):
        raise GicError('no CUDA in a forked process: use multiprocessing.get_context("spawn"), or device="cpu"')
    return torch.device("cpu" if owner is None else "cuda")


@lru_cache(maxsize=1)
def _owner_of_cuda() -> int | None:
    """The process that first asked for CUDA, and that alone can use it; None where there is no device."""
    return os.getpid() if torch.cuda.is_available() else None


def network_of(model: str) -> type[Network[Any]]:
    """Class of the networks of a model; MissingWeights where this build knows no architecture for it."""
    return registry.resolve(registry.CODECS[registry.config_of(model).codec].network, Network)


def build(weights: Weights, device: torch.device) -> Network[Any]:
    """Network of `weights` on a device; MissingWeights where this build knows no architecture for them."""
    return network_of(weights.info.name)(weights, device)


@lru_cache(maxsize=4)
def load_network(weights: Weights, device: str) -> Network[Any]:
    """`build`, kept for the next picture."""
    return build(weights, pick_device(device))
