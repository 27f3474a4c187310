"""What the CPU computes in bfloat16, and what PyTorch is given so that it is fast."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gancodec import weights
from gancodec.models.gic1 import inference as network
from gancodec.models.gic1.codec import TunableCodec
from gancodec.models.gic1.inference import HalfBlock
from gancodec.models.inference import Network, build
from gancodec.models.layers import ResidualBlock
from gancodec.types import Geometry
from tests.conftest import needs_weights
from tests.test_onnx import two_ended
from tests.tiny import held_levels, picture, wanted_at


def test_a_half_block_rounds_its_correction_only() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(24)
    x = 100 * torch.rand(2, 24, 7, 9)
    with torch.inference_mode():
        expected, found = block(x), HalfBlock(block)(x)
    assert found.dtype == torch.float32
    correction = float((expected - x).abs().max())
    assert 0 < float((found - expected).abs().max()) < 0.02 * correction
    assert block.first.weight.dtype == torch.float32, "the block itself is left alone"


def pixels(net: Network, fast: bool, realism: float, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Decoded at a rough, uneven level map from latents of a picture."""
    monkeypatch.setattr(network, "fast_bfloat16", lambda: fast)
    geometry = Geometry(width=300, height=170)
    latent = np.round(net.analyse(picture(170, 300))[0] * 4) / 4
    return net.synthesise(held_levels(latent, np.linspace(0, 31, 15).reshape(3, 5)), geometry, realism)


def test_every_realism_has_its_own_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = (build(two_ended(), torch.device("cpu")) for _ in range(2))
    seen = []
    for realism in (0.0, 0.5, 1.0, 0.0):
        seen.append(pixels(fast, True, realism, monkeypatch).astype(int))
        plain = pixels(slow, False, realism, monkeypatch)
        assert np.abs(seen[-1] - plain).max() <= 1, realism
    assert (seen[0] == seen[3]).all()
    assert all(np.abs(a - b).max() > 1 for a, b in ((seen[0], seen[1]), (seen[1], seen[2])))


def squares(height: int, width: int) -> np.ndarray:
    """Random squares of full contrast: further from any photograph than a decoder will see."""
    cells = np.random.default_rng(0).integers(0, 2, (height // 4, width // 4, 3)) * 255
    return cells.repeat(4, 0).repeat(4, 1).astype(np.uint8)


@needs_weights
@pytest.mark.parametrize("make", [picture, squares])
def test_the_shipped_model_stays_within_one_step(
    make: Callable[[int, int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the CPU: slow ones compute bfloat16 all the same."""
    given = weights.get(None)
    nets, codec = {fast: build(given, torch.device("cpu")) for fast in (True, False)}, TunableCodec(given, "cpu")
    rgb = make(300, 420)
    geometry = Geometry(width=420, height=300)
    analysis = codec.analyse(rgb)
    realisms = (0.0,) if given.info.default_realism is None else (0.0, given.info.default_realism, 1.0)
    for n in (-4.0, -1.0, 2.0):
        target, shift = wanted_at(codec, analysis, n)
        level = target.levels + shift / 16
        for realism in realisms:
            found = []
            for fast, net in nets.items():
                monkeypatch.setattr(network, "fast_bfloat16", lambda fast=fast: fast)
                found.append(net.synthesise(held_levels(analysis.omega, level), geometry, realism).astype(int))
            assert np.abs(found[0] - found[1]).max() == 1, (n, realism)  # 0 would be the same code twice


def test_the_encoder_sees_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch reads the layout from the strides, that of a batch of one too; by mistake it would go on in the other."""
    net = build(two_ended(), torch.device("cpu"))
    seen = []
    latents = net.model.encoder.latents

    def spy(x: torch.Tensor) -> torch.Tensor:
        seen.append(F.pixel_unshuffle(x, 8).is_contiguous(memory_format=torch.channels_last))
        return latents(x)

    monkeypatch.setattr(net.model.encoder, "latents", spy)
    net.analyse(picture(128, 192))
    assert seen == [True]


def test_making_a_generator_imports_no_compiler() -> None:
    """What PyTorch imports with sympy took the first picture of every process five seconds."""
    code = """
import sys
from gancodec.models.registry import MODELS
from gancodec.models.gic1.network import TunableModel
TunableModel(MODELS["gic1-tiny"], natural=True).generator_at(0.5)
print([name for name in ("sympy", "torch._dynamo") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
