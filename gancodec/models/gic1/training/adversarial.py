"""Stage S3: the natural end of realism, trained against a discriminator. Everything that a file depends on is frozen.

Generator and discriminator take their steps together, from one backward pass: the scores that reach the generator come
from a discriminator whose parameters are held, so neither gets the other's gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gancodec.models.gic1.discriminator import WEIGHTS, Discriminator
from gancodec.models.gic1.training.losses import coded_latents, random_levels
from gancodec.models.gic1.training.networks import Trained
from gancodec.models.layers import NOISE_PERIOD
from gancodec.models.levels import LEVELS
from gancodec.models.losses import box_ms_ssim
from gancodec.models.recipe import LAMBDA_CENTRE, Recipe
from gancodec.train.perceptual import FeatureNetwork


class AdversarialParts(NamedTuple):
    """The scalar to minimise and its parts, means over the batch.

    loss : generator's and discriminator's together; distortion : lambda * D; perceptual : distance of the features;
    adversarial, discriminator : the two sides of the game; grid : detail that repeats with the generator's last grid;
    realism : beta that was drawn.
    """

    loss: Tensor
    distortion: Tensor
    perceptual: Tensor
    adversarial: Tensor
    discriminator: Tensor
    grid: Tensor
    mse: Tensor
    ms_ssim: Tensor
    realism: Tensor


def least_squares(scores: Tensor, real: bool) -> Tensor:
    """LSGAN (Mao et al., ICCV 2017): squared distance of the scores from 1 (real) or 0."""
    return (scores - float(real)).square().mean()


def log_loss(scores: Tensor, real: bool) -> Tensor:
    """Log loss of Wu et al.'s eq. 5, scores being logits: -log D for real, -log(1 - D) otherwise."""
    return F.softplus(-scores if real else scores).mean()


GRIDS, GRID_WINDOW = (4, 8, 16), 16  # pixels that the generator makes from a site of each layer; sites
GAN_LOSSES = {"lsgan": least_squares, "log": log_loss}


def over_scales(scores: list[Tensor], real: bool, name: str) -> Tensor:
    """Adversarial loss over the three scales, weighted 1/2, 1/4, 1/4.

    The generator minimises it with `real` (the non-saturating form), the discriminator with what is true.
    """
    parts = [weight * GAN_LOSSES[name](s.float(), real) for weight, s in zip(WEIGHTS, scores, strict=True)]
    return torch.stack(parts).sum()


def draw_realism() -> float:
    """Beta of one step: 1 in half of them, uniform otherwise; what happens at 0 is settled already."""
    full, between = torch.rand(2).tolist()
    return 1.0 if full < 0.5 else between


def draw_origin() -> tuple[int, int]:
    """Place of the crops in the noise: anywhere, so that all of the noise is trained with."""
    row, column = torch.randint(NOISE_PERIOD, (2,)).tolist()
    return row, column


def as_picture(decoded: Tensor) -> Tensor:
    """Clip and round to 8 bits, gradients straight through: the discriminator shall see what a user gets."""
    return decoded + ((decoded * 255).round().clamp(0, 255) / 255 - decoded).detach()


def grid_pattern(decoded: Tensor) -> Tensor:
    """Fine detail that repeats every 4, 8 or 16 pixels, squared, in 8-bit units. `decoded` is (B, 3, H, W).

    The generator makes 4x4 pixels from one site of its last layer, 8x8 and 16x16 from one of those before. A fixed
    pattern in them is the cheapest texture, which neither the features nor the discriminator punish enough;
    photographs have none that keeps its phase. What texture of random phase would give is taken off. No gradient flows
    through that part: it would reward louder texture wherever there is a pattern.
    """
    taps = torch.tensor([0.25, 0.5, 0.25], device=decoded.device)
    kernel = torch.outer(taps, taps).expand(3, 1, 3, 3)
    fine = (decoded - F.conv2d(F.pad(decoded, (1, 1, 1, 1), mode="reflect"), kernel, groups=3)) * 255
    total = torch.zeros((), device=decoded.device)
    for period in GRIDS:
        phases = F.pixel_unshuffle(fine, period)
        window = min(GRID_WINDOW, *phases.shape[2:])
        count = window * window
        mean, square = (F.avg_pool2d(v, window, max(1, window // 2)) for v in (phases, phases.detach().square()))
        total = total + (mean.square() - square / count).clamp(min=0).mean()
    return total


def adversarial(
    net: Trained, perceptual: FeatureNetwork, x: Tensor, recipe: Recipe, ramp: float, bf16: bool
) -> AdversarialParts:
    """lambda * D + beta * (perceptual + ramp * adversarial), and the discriminator's own loss.

    x : (B, 3, H, W) in [0, 1]; `ramp` in [0, 1] lets the discriminator learn before the generator listens to it.
    """
    kind, model, discriminator = x.device.type, net.model, net.discriminator
    assert discriminator is not None  # for the type checker: recipes of this stage have one
    with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=bf16):
        analysis = model.analyse(x)
        level, _ = random_levels(analysis.importance)
    with torch.no_grad():
        latents, _ = coded_latents(model, net.context, analysis, level, quantised=True)
    realism = draw_realism()
    with torch.autocast(kind, torch.bfloat16, enabled=bf16):
        decoded = as_picture(model.generate(latents, level, realism, draw_origin()).float())
        distance = perceptual(decoded, x).mean()
        fooled, judged = _play(discriminator, decoded, x, latents, level / (LEVELS - 1), recipe.gan)
    squared = (decoded - x).square().mean() * 255**2
    ms_ssim = box_ms_ssim(decoded, x, torch.ones_like(level)).mean()
    distortion = LAMBDA_CENTRE * (recipe.mse * squared + recipe.ms_ssim * (1 - ms_ssim))
    grid = grid_pattern(decoded)
    natural = recipe.perceptual * distance + recipe.adversarial * ramp * fooled + recipe.grid * grid
    loss = distortion + realism * natural + judged
    beta = torch.tensor(realism)
    return AdversarialParts(loss, distortion, distance, fooled, judged, grid, squared, ms_ssim, beta)


def _play(
    discriminator: Discriminator, decoded: Tensor, x: Tensor, latents: Tensor, level: Tensor, gan: str
) -> tuple[Tensor, Tensor]:
    """Loss of the generator, through a discriminator that is held, and loss of the discriminator."""
    discriminator.requires_grad_(False)
    fooled = over_scales(discriminator(decoded, latents, level), True, gan)
    discriminator.requires_grad_(True)
    both = discriminator(torch.cat((decoded.detach(), x)), latents.repeat(2, 1, 1, 1), level.repeat(2, 1, 1))
    fake, real = ([s[half] for s in both] for half in (slice(len(x)), slice(len(x), None)))
    return fooled, over_scales(fake, False, gan) + over_scales(real, True, gan)
