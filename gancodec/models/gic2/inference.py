"""The networks of a gic2 model on a device."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gancodec.models.gic2.config import SYMBOL_LIMIT, Gic2Config
from gancodec.models.gic2.layers import Block, between_blocks, norm, per_site, planar, shuffle
from gancodec.models.gic2.network import Gic2Model
from gancodec.models.gic2.receiver import RENDER_STRIDE, Receiver
from gancodec.models.inference import Analyser, Generate, Graph, Network, Port
from gancodec.models.layers import ByteLinear, fast_bfloat16, half_precision, standardised
from gancodec.models.registry import config_as
from gancodec.tiling import Area, Progress, Tile
from gancodec.types import BLOCK, LATENT_STRIDE, SITES, FloatArray, Geometry, IntArray
from gancodec.weights import Weights

STRIP = 384  # sites whose pixels are made together
TRIM_STEPS = 1 << 10  # a trim's dead zone is a multiple of 1/TRIM_STEPS of a symbol


def float32() -> AbstractContextManager[None]:
    """Context in which CUDA convolves in float32, as everywhere, and not in TF32."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return flags


class Planar(nn.Module):
    """The `generate` of a model as a module."""

    def __init__(self, model: Gic2Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, latent: Tensor, position: Tensor) -> Tensor:
        """Latents (B, C, h, w), gains undone, and positions (B, hb, wb) in [0, 1] to (B, 3, H, W), not clipped."""
        return self.model.generate(latent, position)


class HalfBlock(nn.Module):
    """`Block` with its matrices and its convolution in bfloat16, for inference. (B, h, w, C) float32 to the same.

    The sums stay in float32: only corrections are rounded, so errors do not grow from block to block.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = copy.deepcopy(block).to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus its two corrections."""
        x = x + self.block.near(norm(x).to(torch.bfloat16)).float()
        corrected: Tensor = x + self.block.feed(norm(x).to(torch.bfloat16)).float()
        return corrected


def with_half_body(receiver: Receiver) -> Receiver:
    """Compute the two blocks of `receiver` in half blocks; returns it.

    Pixels of photographs move by at most 0.76 of 255; of random squares in black and white 4 in a million move by two
    levels. With what turns latents into cells in bfloat16 as well, 4 in 10,000 of these would, or by three.
    """
    receiver.shared, receiver.own = HalfBlock(receiver.shared), HalfBlock(receiver.own)  # type: ignore[assignment]
    return receiver


def strips_of(area: Area) -> Iterator[Area]:
    """An area of pixels in strips of at most STRIP sites, or of one row of them."""
    rows = LATENT_STRIDE * max(1, STRIP * LATENT_STRIDE // (area.right - area.left))
    for top in range(area.top, area.bottom, rows):
        yield area._replace(top=top, bottom=min(top + rows, area.bottom))


def in_strips(receiver: Receiver, latent: Tensor, position: Tensor) -> Tensor:
    """`receiver(latent, position)`, with its pointwise end a few rows at a time: what lies between stays in the cache
    of a CPU, which takes a quarter less time, and little memory."""
    body = receiver.own(receiver.body(latent, position))
    fine = between_blocks(position, BLOCK // RENDER_STRIDE)
    rows, strips = max(1, STRIP // body.shape[2]), []
    for top in range(0, body.shape[1], rows):
        sites, cells = slice(top, top + rows), slice(SITES * top, SITES * (top + rows))
        content = shuffle(receiver.content(latent[:, sites]), SITES)
        strips.append(receiver.render(body[:, sites], content, fine[:, cells]))
    return torch.cat(strips, 1)


def reduced(receiver: Receiver, factor: int) -> Receiver:
    """A receiver that gives the means of factor x factor pixels (1, 2 or 4).

    A mean of what a matrix makes is what the mean of its rows makes: the last one then has fewer outputs.
    """
    receiver = copy.deepcopy(receiver)
    left, last = RENDER_STRIDE // factor, receiver.render.to_rgb
    layer = ByteLinear(last.in_features, 3 * left * left, device=last.weight.device)
    squares = (left, factor, left, factor, 3)
    layer.weight.data = last.weight.detach().reshape(*squares, -1).mean((1, 3)).flatten(0, 2)
    layer.bias.data = last.bias.detach().reshape(squares).mean((1, 3)).flatten()
    receiver.render.to_rgb, receiver.render.stride = layer, left
    return receiver.eval()


class Gic2Network(Network[Gic2Model]):
    """Sender, masker, means and receiver of `models.gic2.network`."""

    encoder_halo = 128  # four blocks of the sender and one layer of the masker reach five sites
    generator_halo = 128  # the receiver reaches two sites, levels one block
    elsewhere = ("gains.", "hyper_gains.", "projection.", "hyper_rows.", "first")
    _prepared: tuple[tuple[int, torch.device], Receiver] | None = None

    def architecture(self, weights: Weights) -> Gic2Model:
        return Gic2Model(config_as(weights.info.name, Gic2Config))

    def _analyse(
        self, rgb: NDArray[np.uint8], tiles: list[Tile], geometry: Geometry, progress: Progress | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Latent (1, C, h, w) in half precision, hyper (1, Kh, hb, wb) and importance (1, hb, wb)."""
        model, config = self.model, self.model.config
        latent = torch.empty((1, config.channels, *geometry.latent), dtype=torch.float16)
        hyper = torch.empty((1, config.hyper_channels, *geometry.blocks))
        scores = torch.empty((1, *geometry.blocks))
        for done, tile in enumerate(tiles):
            kept = tile.inner.seen_from(tile.outer)
            # Encoders of different machines may choose differently; files say what they chose.
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half_precision(self.device.type)):
                patches = [model.sender.patches(self._pixels(rgb, area)) for area in strips_of(tile.outer)]
                seen = model.sender.sent(torch.cat(patches, 1), patches[0].shape[1])
                parts = planar(seen), planar(model.hyper_encoder(seen)), model.masker.scores(seen)
            for target, part, stride in zip((latent, hyper, scores), parts, (LATENT_STRIDE, BLOCK, BLOCK), strict=True):
                target[tile.inner.sites(stride)] = part[kept.sites(stride)].to(target)
            if progress is not None:
                progress(done + 1, len(tiles))
        return latent, hyper, standardised(scores)

    def choose(
        self, latent: NDArray[np.float16], hyper: FloatArray, gain: FloatArray, sent: NDArray[np.bool_], trim: int
    ) -> IntArray:
        """Symbols (C, h, w) of latents (C, h, w).

        hyper (hb, wb, Kh) with gains undone; gain (hb, wb, C); sent (C, h, w): other symbols are 0.
        """

        def work() -> IntArray:
            wanted, allowed = self._sites(latent), self._sites(sent)
            gains = per_site(self._blocks(gain))
            chosen = torch.zeros_like(gains)

            def choose(mean: Tensor, mine: Tensor) -> Tensor:
                residual = (wanted - mean).mul_(gains)
                if trim:
                    residual = nn.functional.softshrink(residual, trim / TRIM_STEPS)
                symbols = residual.round_().clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT).mul_(allowed & mine)
                chosen.add_(symbols)
                return symbols.div_(gains).add_(mean)

            self.model.means(self._blocks(hyper), choose)
            return _planes(chosen).astype(np.int32)

        return self._guarded(work)

    def latents(self, hyper: FloatArray, gain: FloatArray, symbols: IntArray) -> FloatArray:
        """Latents (C, h, w), gains undone, of symbols (C, h, w) and a hyper-latent (hb, wb, Kh), gains undone.

        Of whole streams, always in float32.
        """

        def work() -> FloatArray:
            gained = self._sites(symbols.astype(np.float32)) / per_site(self._blocks(gain))
            with float32():
                return _planes(self.model.means(self._blocks(hyper), lambda mean, _: mean + gained))

        return self._guarded(work)

    def _blocks(self, values: NDArray[np.generic]) -> Tensor:
        """Values (rows, columns, channels) on the device, with a batch axis."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)[None]

    def _sites(self, values: NDArray[np.generic]) -> Tensor:
        """Values (channels, rows, columns) on the device, channels last and with a batch axis."""
        return self._blocks(values.transpose(1, 2, 0))

    def _generator(self, realism: float, reduce: int = 1) -> Generate:
        """The receiver; realism 0 is all there is."""

        def generate(planes: tuple[Tensor, ...], place: tuple[int, int]) -> Tensor:
            latent, position = planes
            receiver = self.receiver(reduce)  # means may have moved to the CPU, for want of memory
            with float32():
                pixels = planar(in_strips(receiver, latent.permute(0, 2, 3, 1).contiguous(), position))
            return pixels if reduce <= RENDER_STRIDE else nn.functional.avg_pool2d(pixels, reduce // RENDER_STRIDE)

        return generate

    def receiver(self, reduce: int = 1) -> Receiver:
        """The receiver made for this device; that of the last size is kept."""
        prepared = self._prepared
        if prepared is None or prepared[0] != (reduce, self.device):
            receiver = reduced(self.model.receiver, min(reduce, RENDER_STRIDE))
            if self.device.type == "cpu" and fast_bfloat16():
                receiver = with_half_body(receiver)
            prepared = self._prepared = (reduce, self.device), receiver
        return prepared[1]

    def graphs(self, realism: float) -> tuple[Graph, Graph]:
        """Encoder and receiver; see `Network.graphs`.

        ``rgb`` to ``latent`` (B, C, H/16, W/16), ``hyper`` (B, Kh, H/64, W/64) and ``importance`` (B, H/64, W/64) in
        logit units; ``latent`` (B, C, H/16, W/16) with gains undone and ``position`` (B, H/64, W/64) in [0, 1] to
        ``picture``.
        """
        latent = Port("latent", self.model.config.channels, LATENT_STRIDE)
        return (
            Graph(Analyser(self.model), (Port("rgb", 3, 1),), ("latent", "hyper", "importance")),
            Graph(Planar(self.model), (latent, Port("position", None, BLOCK)), ("picture",)),
        )


def _planes(values: Tensor) -> FloatArray:
    """Values (1, h, w, C) as (C, h, w), where they are."""
    planes: FloatArray = values[0].cpu().numpy().transpose(2, 0, 1)
    return planes
