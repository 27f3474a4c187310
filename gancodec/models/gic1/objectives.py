"""The three ways in which gic1 is trained. Importing this needs no torch.

S1 and S2 are rate-distortion, the latter with the integer context network and true symbols. S3 trains a natural end of
the generator against a discriminator; all that a file depends on is frozen. S4 trains the masker alone, on rate and
what S3's generator at realism 1 makes of the bits: encoders change, files and decoders do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gancodec.models.gic1.config import TunableConfig
from gancodec.models.levels import BALANCE, LAMBDA_CENTRE, LEVELS, logit_to_level
from gancodec.models.recipe import Objective
from gancodec.models.registry import config_as
from gancodec.types import BLOCK

if TYPE_CHECKING:
    from torch import Tensor

    from gancodec.models.gic1.training import Trained
    from gancodec.models.recipe import Distance

# D and the perceptual distance together fall 2.8 times as fast with the rate as D alone, for which the levels' lambdas
# were chosen; without this factor the masker would buy bits instead of moving them.
SLOPE_RATIO = 0.35


@dataclass(frozen=True)
class RateDistortion(Objective["Trained"]):
    """R + lambda * D at random n and levels.

    mse, ms_ssim : D = mse * MSE (8-bit units) + ms_ssim * (1 - MS-SSIM); quantised : are symbols and probabilities the
    integer ones (S2)?
    """

    quantised: bool = False
    mse: float = 0.25
    ms_ssim: float = 1000.0

    @property
    def unfinished(self) -> str | None:
        """S1 has symbols and probabilities that are not integer yet."""
        return None if self.quantised else "only recipes with integer symbols make weights (from S2 on)"

    def networks(self, model: str) -> Trained:
        """Model and context network."""
        from gancodec.models.gic1.training import Trained

        return Trained(config_as(model, TunableConfig))

    def prepare(self, net: Trained, batches: Iterable[Tensor]) -> None:
        """Bring what the integer network sees into its range."""
        if self.quantised:
            net.prepare_quantisation(batches)

    def phase(self, progress: float) -> float:
        """The same from the first step to the last."""
        return 0.0

    def losses(self, net: Trained, features: Distance | None, x: Tensor, progress: float) -> dict[str, Tensor]:
        import torch

        from gancodec.models.gic1.training import coded_latents
        from gancodec.models.layers import half_precision
        from gancodec.models.losses import box_ms_ssim, random_levels

        kind = x.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=half_precision(kind)):
            analysis = net.model.analyse(x)
        level, weight = random_levels(analysis.importance)
        latents, bits = coded_latents(net.model, net.context, analysis, level, self.quantised)
        with torch.autocast(kind, torch.bfloat16, enabled=half_precision(kind)):
            decoded = net.model.generator(latents, level)
        decoded = decoded.float()
        bpp = bits / (x.shape[2] * x.shape[3])
        pixels = weight[:, None].repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)
        mean_weight = weight.mean((1, 2))
        squared = (decoded - x).square() * 255**2
        ms_ssim = box_ms_ssim(decoded.clamp(0, 1), x, weight)
        distortion = self.mse * (squared * pixels).mean((1, 2, 3)) + self.ms_ssim * mean_weight * (1 - ms_ssim)
        balance = (mean_weight / LAMBDA_CENTRE) ** BALANCE
        loss = ((bpp + distortion) * balance).mean()
        return {"loss": loss, "bpp": bpp.mean(), "mse": squared.mean(), "ms_ssim": ms_ssim.mean()}


@dataclass(frozen=True)
class _Natural(Objective["Trained"]):
    """What S3 and S4 have in common: a natural end, and all that a file depends on frozen.

    mse, ms_ssim : as in `RateDistortion`; features : file of the feature network; perceptual : weight of its distance;
    discriminator : channels of its first layers.
    """

    mse: float = 0.25
    ms_ssim: float = 1000.0
    features: str = "vgg19_16x.safetensors"
    perceptual: float = 1.0
    discriminator: int = 32
    realism: ClassVar[float] = 1.0  # what is trained; the faithful end is frozen

    def networks(self, model: str) -> Trained:
        """Model with a natural end, context network, discriminator."""
        from gancodec.models.gic1.training import Trained

        return Trained(config_as(model, TunableConfig), self.discriminator)


@dataclass(frozen=True)
class Adversarial(_Natural):
    """lambda * D + beta * (perceptual + adversarial), and the discriminator's own loss.

    Generator and discriminator take their steps together, from one backward pass: the scores that reach the generator
    come from a discriminator whose parameters are held, so neither gets the other's gradient.

    adversarial, grid : weights of the generator's adversarial loss, and of fine detail that repeats with the grid of
    its last layer, both times beta; gan : "lsgan" or "log"; ramp : part of the run over which the adversarial weight
    grows from 0, so that the discriminator learns before the generator listens to it.
    """

    adversarial: float = 0.8
    grid: float = 0.2
    gan: str = "lsgan"
    ramp: float = 0.02

    def losses(self, net: Trained, features: Distance | None, x: Tensor, progress: float) -> dict[str, Tensor]:
        import torch

        from gancodec.models.gic1.training import (
            as_picture,
            coded_latents,
            draw_origin,
            draw_realism,
            grid_pattern,
            play,
        )
        from gancodec.models.layers import half_precision
        from gancodec.models.losses import box_ms_ssim, random_levels

        kind, model, discriminator = x.device.type, net.model, net.discriminator
        assert discriminator is not None
        assert features is not None
        with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=half_precision(kind)):
            analysis = model.analyse(x)
            level, _ = random_levels(analysis.importance)
        with torch.no_grad():
            latents, _ = coded_latents(model, net.context, analysis, level, quantised=True)
        realism = draw_realism()
        with torch.autocast(kind, torch.bfloat16, enabled=half_precision(kind)):
            decoded = as_picture(model.generate(latents, level, realism, draw_origin()).float())
            distance = features(decoded, x).mean()
            fooled, judged = play(discriminator, decoded, x, latents, level / (LEVELS - 1), self.gan)
        squared = (decoded - x).square().mean() * 255**2
        ms_ssim = box_ms_ssim(decoded, x, torch.ones_like(level)).mean()
        distortion = LAMBDA_CENTRE * (self.mse * squared + self.ms_ssim * (1 - ms_ssim))
        grid = grid_pattern(decoded)
        natural = (
            self.perceptual * distance + self.adversarial * min(1.0, progress / self.ramp) * fooled + self.grid * grid
        )
        parts = {"distortion": distortion, "perceptual": distance, "adversarial": fooled, "discriminator": judged}
        more = {"grid": grid, "mse": squared, "ms_ssim": ms_ssim, "realism": torch.tensor(realism)}
        return {"loss": distortion + realism * natural + judged, **parts, **more}


class Masking(_Natural):
    """R + lambda * (D + perceptual) at realism 1, one random n for each crop."""

    def phase(self, progress: float) -> float:
        """The same from the first step to the last."""
        return 0.0

    def losses(self, net: Trained, features: Distance | None, x: Tensor, progress: float) -> dict[str, Tensor]:
        import torch

        from gancodec.models.gic1.training import coded_latents
        from gancodec.models.layers import half_precision
        from gancodec.models.losses import box_ms_ssim, distortion_weight

        kind, model = x.device.type, net.model
        assert features is not None
        with torch.autocast(kind, torch.bfloat16, enabled=half_precision(kind)):
            analysis = model.analyse(x)
        logit = (torch.rand(len(x), 1, 1, device=x.device) * 2 - 1) * 2.4
        level = logit_to_level(logit + analysis.importance).clamp(0, LEVELS - 1)
        latents, bits = coded_latents(model, net.context, analysis, level, quantised=True)
        with torch.autocast(kind, torch.bfloat16, enabled=half_precision(kind)):
            decoded = model.generate(latents, level, 1.0).float()
            distance = features(decoded, x)
        bpp = bits / (x.shape[2] * x.shape[3])
        squared = (decoded - x).square().mean((1, 2, 3)) * 255**2
        ms_ssim = box_ms_ssim(decoded.clamp(0, 1), x, torch.ones_like(level))
        distortion = self.mse * squared + self.ms_ssim * (1 - ms_ssim)
        both = distortion + self.perceptual * distance / LAMBDA_CENTRE
        weight = distortion_weight(logit.flatten())
        loss = (bpp + SLOPE_RATIO * weight * both) * (weight / LAMBDA_CENTRE) ** BALANCE
        spread = analysis.importance.flatten(1).std(1).mean()
        parts = {"loss": loss, "bpp": bpp, "distortion": distortion, "perceptual": distance}
        return {**{name: part.mean() for name, part in parts.items()}, "spread": spread}
