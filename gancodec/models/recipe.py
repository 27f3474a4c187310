"""What a training recipe is."""

from __future__ import annotations

import math
from dataclasses import dataclass

# The faithful end invents nothing: its noise stays shut out.
GATES = ("model.generator.texture.gate.",)


@dataclass(frozen=True)
class Recipe:
    """One training job.

    Attributes
    ----------
    model : str
        Name in `models.config.MODELS`.
    stage : {0, 1, 2, 3, 4}
        0: wu2019's only one, the paper's eqs. 5 to 7 (`train.wu2019`). The others are gic1's.
        S1: float rate-distortion. S2: the same, and everything sees the integer context network and true symbols.
        S3: all that is frozen, and a natural end of the generator is trained against a discriminator.
        S4: the masker alone, on rate and what S3's generator at realism 1 makes of the bits. Encoders change, files and
        decoders do not.
    crop, batch : int
        Side of the square crops (a multiple of 64) and crops per step and worker.
    rate, final_rate : float
        Peak learning rate and what the schedule ends at.
    schedule : {"cosine", "halves"}
        How the rate falls: along a cosine, or in one step when half of the run is over.
    mse, ms_ssim : float
        D = mse * MSE (8-bit units) + ms_ssim * (1 - MS-SSIM).
    features : str
        File of the feature network that S3's perceptual distance needs (`train.perceptual`).
    perceptual, adversarial : float
        Weights of the perceptual distance (S3, S4) and of the generator's adversarial loss (S3), both times beta.
    grid : float
        Weight of fine detail that repeats with the grid of the generator's last layer (S3), times beta.
    gan : {"lsgan", "log"}
        Form of the adversarial loss (S3).
    kappa : float
        Weight of wu2019's MSE; its eta, the weight of the adversarial loss, is `adversarial`.
    n_range : (float, float)
        What wu2019 draws n from, anew for each batch; both ends alike for a model that is not tunable.
    discriminator : int
        Channels of the discriminator's first layers (S3).
    ramp : float
        Part of the run over which the adversarial weight grows from 0 (S3).
    held_at_zero : tuple of str
        Parameters whose names begin so are 0 and stay 0: the faithful end's noise, and what an ablation takes away.
    only : tuple of str
        Where given, parameters whose names begin so are trained, and no others.
    """

    model: str
    stage: int = 1
    crop: int = 192
    batch: int = 8
    rate: float = 1e-3
    final_rate: float = 1e-4
    schedule: str = "cosine"
    warmup: int = 200
    clip: float = 1.0
    ema: float = 0.998
    mse: float = 0.25
    ms_ssim: float = 1000.0
    features: str = "vgg19_16x.safetensors"
    perceptual: float = 1.0
    adversarial: float = 0.8
    grid: float = 0.2
    gan: str = "lsgan"
    kappa: float = 16.0
    n_range: tuple[float, float] = (-2.0, 2.0)
    discriminator: int = 32
    ramp: float = 0.02
    held_at_zero: tuple[str, ...] = GATES
    only: tuple[str, ...] = ()

    @property
    def quantised(self) -> bool:
        """Whether symbols and probabilities are the integer ones; of wu2019 they always are."""
        return self.stage != 1


LAMBDA_CENTRE = 0.0024  # bits per pixel per unit of distortion at n = 0, near 0.14 bpp
LAMBDA_SLOPE = 1.125  # of log lambda per unit of n
BALANCE = -0.35  # sample weights lambda**BALANCE: without them the high rates own the gradient


def distortion_weight(logit: float) -> float:
    """Lambda of an importance logit (n = -logit on a flat map)."""
    return LAMBDA_CENTRE * math.exp(LAMBDA_SLOPE * logit)
