"""Architectures: budgets of the design, monotone gains, the paper's masker, a generator that ignores realism at 0."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gancodec.models.gic1.context import ContextNetwork
from gancodec.models.gic1.network import Gains, Masker, TunableModel
from gancodec.models.levels import LEVELS, level_to_logit, logit_to_level
from gancodec.models.registry import MODELS

# Per input pixel, in kMAC; and parameters in all.
BUDGETS = {"gic1": (30, 8, 64, 20e6), "gic1-small": (12, 2, 12, 3.2e6), "gic1-small-2": (12, 2, 20, 6e6)}


def kmac_per_pixel(module: nn.Module, run, pixels: int) -> float:  # type: ignore[no-untyped-def]
    """Multiply-accumulates of every convolution that `run` executes inside `module`."""
    total = 0

    def count(layer: nn.Conv2d, inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        total += output.shape[2] * output.shape[3] * layer.weight.numel()

    hooks = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, nn.Conv2d)]
    run()
    for hook in hooks:
        hook.remove()
    return total / pixels / 1000


@pytest.mark.parametrize("name", BUDGETS)
@torch.no_grad()
def test_budgets(name: str) -> None:
    encoder_limit, context_limit, generator_limit, parameter_limit = BUDGETS[name]
    config = MODELS[name]
    model, context = TunableModel(config, natural=name != "gic1-small").eval(), ContextNetwork(config).eval()
    x, side = torch.rand(1, 3, 128, 128), 128 * 128
    level = torch.full((1, 2, 2), 16.0)
    latent = torch.zeros(1, config.latent_channels, 8, 8)
    encoder = kmac_per_pixel(model.encoder, lambda: model.encoder(x), side)
    encoder += kmac_per_pixel(model.masker, lambda: model.masker(latent), side)
    generator = kmac_per_pixel(model.generator, lambda: model.generator(latent, level), side)
    context_macs = 0.0
    for group in context.groups:  # functional convolutions: weights times the sites that they are computed at
        layers = (group.previous, group.local, group.middle, group.output)
        context_macs += sum(layer.weight.numel() for layer in layers) / 256 / 1000
    assert encoder <= encoder_limit
    assert generator <= generator_limit
    assert context_macs <= context_limit
    parameters = sum(p.numel() for m in (model, context) for p in m.parameters())
    assert parameters <= parameter_limit


def test_ids_and_names_are_unique() -> None:
    assert len({c.id for c in MODELS.values()}) == len(MODELS)
    assert all(name == c.name for name, c in MODELS.items())


def test_gains_rise_with_the_level_and_end_at_its_depth() -> None:
    config = MODELS["gic1-small"]
    gains = Gains(config, config.latent_channels, masked=True)
    with torch.no_grad():
        gains.steps.normal_(0, 2)
    level = torch.linspace(0, LEVELS - 1, 100)
    assert (gains.log_gain(level).diff(dim=0) >= 0).all()
    depth = [int(gains.active(torch.tensor(float(v))).sum()) for v in range(LEVELS)]
    assert depth == [config.depth(v) for v in range(LEVELS)] == sorted(depth)
    assert depth[0] < depth[-1] == config.latent_channels
    active = gains.active(torch.tensor(0.0))
    assert (active[: depth[0]] == 1).all()
    assert (active[depth[0] :] == 0).all()


def test_levels_and_logits_are_inverse() -> None:
    assert [round(logit_to_level(level_to_logit(v))) for v in range(LEVELS)] == list(range(LEVELS))


def test_masker_is_standardised_but_leaves_flat_maps_flat() -> None:
    masker = Masker(MODELS["gic1-tiny"])
    omega = torch.randn(2, 8, 32, 48)
    with torch.no_grad():
        masker.body[-1].weight.mul_(100)
        busy = masker(omega)
        flat = masker(torch.zeros_like(omega) + 0.3)
    assert busy.mean((1, 2)).abs().max() < 1e-4
    assert (busy.std((1, 2), unbiased=False) - 1).abs().max() < 1e-3
    assert flat[:, 2:-2, 2:-2].abs().max() < 1.0


def test_level_reaches_the_generator_once_trained() -> None:
    model = TunableModel(MODELS["gic1-tiny"]).eval()
    latent = torch.randn(1, 8, 8, 8)
    with torch.no_grad():
        model.generator.film_head.table.normal_()
        low = model.generator(latent, torch.full((1, 2, 2), 3.0))
        high = model.generator(latent, torch.full((1, 2, 2), 28.0))
    assert not torch.equal(low, high)
