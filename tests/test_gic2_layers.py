"""gic2's layers against plain loops, matrices as they are shipped, and budgets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancodec.models.gic2.config import KNOTS, MODELS
from gancodec.models.gic2.inference import Gic2Network
from gancodec.models.gic2.layers import (
    LevelScale,
    around,
    at_position,
    between_blocks,
    per_site,
    quadrants,
    shuffle,
    unshuffle,
)
from gancodec.models.gic2.network import Gains, Gic2Model, HyperRows
from gancodec.models.gic2.receiver import NaturalEnd
from gancodec.models.gic2.symbols import passes
from gancodec.models.layers import ByteLinear, to_bytes
from gancodec.train.freeze import network_arrays
from gancodec.types import SITES
from tests.tiny import tiny_gic2_network, tiny_gic2_weights

FULL, TINY = MODELS
DECODER = ("means.", "receiver.", "projection.", "gains.", "hyper_gains.", "hyper_rows.")


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_squares_become_channels_rows_first_and_back(factor: int) -> None:
    x = torch.arange(2 * 8 * 12 * 3).view(2, 8, 12, 3)
    found = unshuffle(x, factor)
    assert found.shape == (2, 8 // factor, 12 // factor, 3 * factor**2)
    for b, y, x_, i, j in np.ndindex(2, 8 // factor, 12 // factor, factor, factor):
        place = 3 * (factor * i + j)
        expected = x[b, factor * y + i, factor * x_ + j]
        assert torch.equal(found[b, y, x_, place : place + 3], expected)
    assert torch.equal(shuffle(found, factor), x)


@pytest.mark.parametrize("sites", [SITES, 16])
@pytest.mark.parametrize("blocks", [(1, 1), (1, 5), (4, 3)])
def test_positions_between_blocks(sites: int, blocks: tuple[int, int]) -> None:
    """Along a line between centres, constant outside of them; so no step at the border of two blocks."""
    position = torch.rand(2, *blocks)
    found = between_blocks(position, sites).numpy()
    assert found.shape == (2, blocks[0] * sites, blocks[1] * sites)

    def line(values: np.ndarray, count: int) -> np.ndarray:
        centres = sites * np.arange(count) + sites / 2
        return np.interp(np.arange(count * sites) + 0.5, centres, values)

    for b in range(2):
        columns = np.array([line(row, blocks[1]) for row in position[b].numpy()])
        expected = np.array([line(column, blocks[0]) for column in columns.T]).T
        np.testing.assert_allclose(found[b], expected, atol=1e-6)
    for axis in (1, 2):
        if blocks[axis - 1] > 1:
            steepest = np.abs(np.diff(position.numpy(), axis=axis)).max() / sites
            assert np.abs(np.diff(found, axis=axis)).max() <= steepest + 1e-6


def test_values_of_blocks_at_their_sites() -> None:
    values = torch.rand(2, 3, 2, 5)
    found = per_site(values)
    for y, x in np.ndindex(12, 8):
        assert torch.equal(found[:, y, x], values[:, y // SITES, x // SITES])


def test_knots_are_interpolated_as_numpy_does() -> None:
    """By gains and rows, and in the product that receivers have in their place."""
    knots, position = torch.randn(KNOTS, 3), torch.rand(2, 4, 5)
    position.view(-1)[:3] = torch.tensor([0.0, 1.0, 0.5])
    found = at_position(knots, position).numpy()
    for c in range(3):
        expected = np.interp(position.numpy().ravel(), np.linspace(0, 1, KNOTS), knots[:, c].numpy())
        np.testing.assert_allclose(found[..., c].ravel(), expected, atol=1e-5)
    scale = LevelScale(3)
    scale.table.data = knots
    x = torch.randn(2, 4, 5, 3)
    torch.testing.assert_close(scale(x, position), x * torch.from_numpy(found), atol=1e-5, rtol=1e-5)


def test_gains_rise_with_the_level() -> None:
    gains = Gains(5, 4.0, 0.5)
    first = gains(torch.tensor([0.0, 0.5, 1.0]))
    assert first[1].tolist() == pytest.approx([math.log(4)] * 5, abs=1e-5)
    with torch.no_grad():
        gains.steps.normal_(0, 3)
    found = gains(torch.linspace(0, 1, 200))
    assert found.shape == (200, 5)
    assert (found.diff(dim=0) >= 0).all()
    assert (found[-1] > found[0]).all()


@pytest.mark.parametrize("blocks", [(1, 1), (1, 4), (3, 1), (4, 5)])
def test_passes_of_both_sides_are_the_same(blocks: tuple[int, int]) -> None:
    turn = quadrants(*blocks, torch.device("cpu")).numpy()
    for step, places in enumerate(passes(blocks)):
        assert (turn[places] == step).all()
    assert sum(len(y) for y, _ in passes(blocks)) == turn.size
    assert turn[:2, :2].tolist() == [[0, 2], [3, 1]][: blocks[0]] or blocks[1] == 1


def test_sums_of_neighbourhoods() -> None:
    x = torch.randn(2, 4, 5, 3)
    expected = F.conv2d(x.permute(0, 3, 1, 2), torch.ones(3, 1, 3, 3), padding=1, groups=3).permute(0, 2, 3, 1)
    torch.testing.assert_close(around(x), expected, atol=1e-5, rtol=1e-5)


def test_rows_of_a_block_see_earlier_passes_only() -> None:
    """Else a decoder could not know them; and not the symbol itself."""
    layer = HyperRows(TINY)
    with torch.no_grad():
        for near in layer.near:
            near.weight.normal_()
    symbols = torch.randn(1, 5, 6, TINY.hyper_channels) * 4
    turn, position = quadrants(5, 6, torch.device("cpu")), torch.full((1, 5, 6), 0.4)
    before = layer(symbols, position, torch.zeros_like(symbols))
    for y, x in np.ndindex(5, 6):
        changed = symbols.clone()
        changed[0, y, x] += 3
        moved = (layer(changed, position, torch.zeros_like(symbols)) != before)[0].any(-1)
        inside = torch.zeros_like(moved)
        inside[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
        assert torch.equal(moved, inside & (turn > turn[y, x])), (y, x)


# --- matrices in bytes


def test_a_shipped_matrix_is_within_half_a_step() -> None:
    torch.manual_seed(0)
    layer = ByteLinear(40, 30)
    with torch.no_grad():
        layer.weight.mul_(torch.logspace(-6, 3, 30)[:, None])
        layer.weight[4] = 0
    values, scale = to_bytes(layer.weight)
    assert (values.dtype, scale.dtype) == (torch.int8, torch.float16)
    assert scale.shape == (30, 1)
    most = layer.weight.abs().amax(1, keepdim=True)
    error = (layer.shipped() - layer.weight).abs()
    assert (error <= (0.502 / 127 + 2**-11) * most + 127 * 2**-25).all(), "the scale itself is rounded too"
    assert not layer.shipped()[4].any()
    assert values.abs().amax(1)[12:].min() >= 126, "all of a byte is used"


def test_rounded_matrices_compute_with_what_is_shipped_and_pass_gradients() -> None:
    torch.manual_seed(0)
    layer, x = ByteLinear(12, 7), torch.randn(5, 12)
    plain = layer(x)
    layer.rounded = True
    found = layer(x)
    torch.testing.assert_close(found, F.linear(x, layer.shipped(), layer.bias))
    assert not torch.equal(found, plain)
    found.square().sum().backward()
    expected = (2 * found.detach()).T @ x
    torch.testing.assert_close(layer.weight.grad, expected)


def test_weights_hold_bytes_that_give_the_shipped_matrices() -> None:
    given = tiny_gic2_weights()
    model = tiny_gic2_network().model
    floats = given.network_floats()
    for name, module in model.named_modules():
        if isinstance(module, ByteLinear):
            assert given.network[f"{name}.weight"].dtype == np.int8
            np.testing.assert_array_equal(floats[f"{name}.weight"], module.shipped().detach().numpy())
    assert not [k for k in given.network if k.startswith(Gic2Network.elsewhere)]


def kmac(module: nn.Module, *inputs: Tensor) -> float:
    """Thousands of multiply-accumulates of matrices and convolutions."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        places = output.numel() // output.shape[1 if isinstance(layer, nn.Conv2d) else -1]
        total += places * layer.weight.numel()  # type: ignore[operator, union-attr]

    hooks = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    module(*inputs)
    for hook in hooks:
        hook.remove()
    return total / 1000


@torch.no_grad()
def test_budgets_of_the_full_model() -> None:
    """About 5 kMAC a pixel in the receiver, at most 1.75 MB of what decodes."""
    model, natural = Gic2Model(FULL), NaturalEnd(FULL)
    latent, hyper = torch.zeros(1, 8, 8, FULL.channels), torch.zeros(1, 2, 2, FULL.hyper_channels)
    assert kmac(model.receiver, latent, torch.zeros(1, 2, 2)) / 128**2 < 5.5
    assert kmac(model.means, hyper, lambda mean, _: mean) / 128**2 < 1.5  # type: ignore[arg-type]
    of_both = {k: v for k, v in network_arrays(model, ()).items() if k.startswith(DECODER)}
    size = sum(v.nbytes for v in (*of_both.values(), *network_arrays(natural, ()).values()))
    size -= of_both["projection.weight"].nbytes // 2  # in bytes too
    assert 1e6 < size < 1.75e6
