"""The recipes of gic1: frozen values, derived from one another."""

from __future__ import annotations

from dataclasses import replace

from gancodec.models.gic1.objectives import Adversarial, Masking, RateDistortion
from gancodec.models.recipe import Recipe

# The faithful end invents nothing: its noise stays shut out.
GATES = ("model.generator.texture.gate.",)


def _small_s1() -> Recipe:
    return Recipe("gic1-small", RateDistortion(), held_at_zero=GATES)


def _small_grown() -> Recipe:
    """S1 of gic1-small that starts from a half-trained model with fewer latent channels (see docs/training.md)."""
    return replace(_small_s1(), rate=7e-4, final_rate=2.5e-4)


def _s2(first: Recipe) -> Recipe:
    return replace(first, objective=RateDistortion(quantised=True), rate=2.5e-4, final_rate=5e-6, warmup=50)


def _s3(first: Recipe) -> Recipe:
    trained = ("model.natural.", "discriminator.")
    return replace(first, objective=Adversarial(), rate=2e-4, final_rate=1e-5, warmup=100, only=trained)


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
    return replace(first, objective=Masking(), rate=5e-4, final_rate=1e-5, warmup=50, ema=0.99, only=("model.masker.",))


def _full_s1() -> Recipe:
    return replace(_small_s1(), model="gic1", crop=256, batch=16, rate=4e-4, final_rate=4e-5, ema=0.9995)


def _tiny_s1() -> Recipe:
    return replace(_small_s1(), model="gic1-tiny", crop=64, batch=2, rate=1e-2, warmup=5)


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
    "gic1-tiny-s1": _tiny_s1(),
    "gic1-tiny-s2": _s2(_tiny_s1()),
    "gic1-tiny-s3": replace(_s3(_tiny_s1()), objective=Adversarial(discriminator=4)),
    "gic1-tiny-s4": replace(_s4(_tiny_s1()), objective=Masking(discriminator=4), crop=192),
}
