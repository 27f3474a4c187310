"""Stage S4: the masker learns where bits help the eye, given a generator that invents what is missing.

It moves bits between the blocks of a picture; encoder, entropy model and generator stay as they are, so files and
decoders do not change.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gancodec.models.gic1.training.losses import coded_latents
from gancodec.models.gic1.training.networks import Trained
from gancodec.models.levels import LEVELS, N_LIMIT
from gancodec.models.losses import box_ms_ssim
from gancodec.models.recipe import BALANCE, LAMBDA_CENTRE, LAMBDA_SLOPE, Recipe
from gancodec.train.perceptual import FeatureNetwork

# D and the perceptual distance together fall 2.8 times as fast with the rate as D alone, for which the levels' lambdas
# were chosen; without this factor the masker would buy bits instead of moving them.
SLOPE_RATIO = 0.35


class MaskingParts(NamedTuple):
    """The scalar to minimise and its parts, means over the batch; `spread` is the importance's standard deviation."""

    loss: Tensor
    bpp: Tensor
    distortion: Tensor
    perceptual: Tensor
    spread: Tensor


def masking(net: Trained, features: FeatureNetwork, x: Tensor, recipe: Recipe, bf16: bool) -> MaskingParts:
    """R + lambda * (D + perceptual) of crops x (B, 3, H, W) in [0, 1] at realism 1, one random n for each crop."""
    kind, model = x.device.type, net.model
    with torch.autocast(kind, torch.bfloat16, enabled=bf16):
        analysis = model.analyse(x)
    logit = (torch.rand(len(x), 1, 1, device=x.device) * 2 - 1) * 2.4
    level = (((logit + analysis.importance) / N_LIMIT + 1) / 2 * (LEVELS - 1)).clamp(0, LEVELS - 1)
    latents, bits = coded_latents(model, net.context, analysis, level, quantised=True)
    with torch.autocast(kind, torch.bfloat16, enabled=bf16):
        decoded = model.generate(latents, level, 1.0).float()
        distance = features(decoded, x)
    bpp = bits / (x.shape[2] * x.shape[3])
    squared = (decoded - x).square().mean((1, 2, 3)) * 255**2
    ms_ssim = box_ms_ssim(decoded.clamp(0, 1), x, torch.ones_like(level))
    distortion = recipe.mse * squared + recipe.ms_ssim * (1 - ms_ssim)
    both = distortion + recipe.perceptual * distance / LAMBDA_CENTRE
    weight = LAMBDA_CENTRE * torch.exp(LAMBDA_SLOPE * logit.flatten())
    loss = (bpp + SLOPE_RATIO * weight * both) * (weight / LAMBDA_CENTRE) ** BALANCE
    spread = analysis.importance.flatten(1).std(1).mean()
    return MaskingParts(loss.mean(), bpp.mean(), distortion.mean(), distance.mean(), spread)
