"""Training recipes: frozen values, derived from one another, named in one dict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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


def _small_s1() -> Recipe:
    return Recipe(model="gic1-small")


def _small_grown() -> Recipe:
    """S1 of gic1-small that starts from a half-trained model with fewer latent channels (see docs/training.md)."""
    return replace(_small_s1(), rate=7e-4, final_rate=2.5e-4)


def _s2(first: Recipe) -> Recipe:
    return replace(first, stage=2, rate=2.5e-4, final_rate=5e-6, warmup=50)


def _s3(first: Recipe) -> Recipe:
    trained = ("model.natural.", "discriminator.")
    return replace(first, stage=3, rate=2e-4, final_rate=1e-5, warmup=100, only=trained)


# Without its last layer the masker says 0 everywhere: uniform levels.
_MASKER = ("model.masker.body.2.",)
# Means and scales that depend on channel and level alone, no neighbours and no hyper-latent: static tables.
_CONTEXT = ("model.encoder.hyper.2.",) + tuple(
    f"context.groups.{i}.{layer}.weight" for i in range(8) for layer in ("previous", "local")
)


def _ablations() -> dict[str, Recipe]:
    """Short S2 runs of equal length, all from one S1 checkpoint, each without something (Wu et al., figure 7)."""
    whole = replace(_s2(_small_s1()), rate=4e-4, ema=0.99)
    return {
        "ablation-whole": whole,
        "ablation-no-masker": replace(whole, held_at_zero=GATES + _MASKER),
        "ablation-no-entropy-model": replace(whole, held_at_zero=GATES + _CONTEXT),
        "ablation-neither": replace(whole, held_at_zero=GATES + _MASKER + _CONTEXT),
    }


def _s4(first: Recipe) -> Recipe:
    return replace(first, stage=4, rate=5e-4, final_rate=1e-5, warmup=50, ema=0.99, only=("model.masker.",))


def _full_s1() -> Recipe:
    return Recipe(model="gic1", crop=256, batch=16, rate=4e-4, final_rate=4e-5, ema=0.9995)


def _wu2019() -> Recipe:
    """Section 4 of the paper: batches of 8, eta = 1, kappa = 16, 2e-3 and from half of the run on 2e-4."""
    return Recipe(
        model="wu2019",
        stage=0,
        crop=256,
        rate=2e-3,
        final_rate=2e-4,
        schedule="halves",
        adversarial=1.0,
        held_at_zero=(),
    )


def _wu2019_small() -> dict[str, Recipe]:
    """The same with a quarter of the filters, whole and without something (the paper's figures 6 and 7)."""
    whole = replace(_wu2019(), model="wu2019-small", crop=192)
    return {
        "wu2019-small": whole,
        "wu2019-small-no-gan": replace(whole, adversarial=0.0),
        "wu2019-small-strong-gan": replace(whole, kappa=whole.kappa * (2 / 255) ** 2),  # as if pixels were in [-1, 1]
        "wu2019-small-no-masker": replace(whole, held_at_zero=("model.masker.score.",)),
        "wu2019-small-fixed": replace(whole, n_range=(0.0, 0.0)),
    }


def _tiny_s1() -> Recipe:
    return Recipe(model="gic1-tiny", crop=64, batch=2, rate=1e-2, warmup=5)


RECIPES: dict[str, Recipe] = {
    "gic1-s1": _full_s1(),
    "gic1-s2": _s2(_full_s1()),
    "gic1-s3": _s3(_full_s1()),
    "gic1-s4": _s4(_full_s1()),
    "gic1-small-s1": _small_s1(),
    "gic1-small-grown": _small_grown(),
    "gic1-small-s2": replace(_s2(_small_s1()), rate=4.5e-4),
    "gic1-small-2-s2": replace(_s2(_small_s1()), model="gic1-small-2", rate=4e-4),
    "gic1-small-2-s3": replace(_s3(_small_s1()), model="gic1-small-2", crop=128),
    "gic1-small-2-s4": replace(_s4(_small_s1()), model="gic1-small-2", crop=256, batch=4),
    **_ablations(),
    "wu2019": _wu2019(),
    **_wu2019_small(),
    "gic1-tiny-s1": _tiny_s1(),
    "gic1-tiny-s2": _s2(_tiny_s1()),
    "gic1-tiny-s3": replace(_s3(_tiny_s1()), discriminator=4),
    "wu2019-tiny": replace(_wu2019(), model="wu2019-tiny", crop=64, batch=2, warmup=5),
    "gic1-tiny-s4": replace(_s4(_tiny_s1()), discriminator=4, crop=192),
}
