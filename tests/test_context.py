"""The integer context network: same numbers as its torch twin, exact sums, one traversal for both directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gancodec.entropy.rangecoder import RangeWriter
from gancodec.entropy.tables import entropy_hash
from gancodec.errors import CorruptTable
from gancodec.models.gic1.codec import TunableCodec
from gancodec.models.gic1.config import INPUT_MAX
from gancodec.models.gic1.integers import EXACT_LIMIT, EntropyModel
from gancodec.models.gic1.symbols import walk
from gancodec.models.gic1.training import per_site
from gancodec.models.levels import SUBLEVELS
from gancodec.types import Geometry
from tests.tiny import coded, picture, tiny_network, tiny_weights, wanted_at

NS = (2.5, 1.0, 0.0, -1.5, -3.5)


@pytest.fixture(scope="module")
def codec() -> TunableCodec:
    return TunableCodec(tiny_weights(), "cpu")


@pytest.mark.parametrize("n", NS)
def test_reader_returns_what_the_writer_coded(codec: TunableCodec, n: float) -> None:
    rgb = picture(200, 300, 5)
    geometry = Geometry(width=300, height=200)
    stream = coded(codec, codec.analyse(rgb), geometry, n)
    decoded = codec.read((stream.data,), stream.frame)
    for written, read in zip(stream.symbols, decoded, strict=True):
        np.testing.assert_array_equal(written, read)
    assert np.abs(stream.symbols.latents).max() > 0, "a test of nothing but zeros shows nothing"


@pytest.mark.parametrize("n", NS)
def test_twin_agrees_with_the_integer_network(codec: TunableCodec, n: float) -> None:
    """Same latents within the rounding of gains and halves, and the same scale rows at nearly every site."""
    net = tiny_network()
    rgb = picture(192, 256, 9)
    geometry = Geometry(width=256, height=192)
    analysis = codec.analyse(rgb)
    target, shift = wanted_at(codec, analysis, n)
    symbols = walk(RangeWriter(codec.entropy.tables), codec.entropy, geometry, shift, target)
    with torch.no_grad():
        level = torch.from_numpy((target.levels + shift / SUBLEVELS).astype(np.float32))[None]
        log_gain, active = per_site(net.model.gains.log_gain(level)), per_site(net.model.gains.active(level))
        hyper_gain = net.model.hyper_gains.log_gain(level).permute(0, 3, 1, 2)
        hyper, _ = net.context.code_hyper(torch.from_numpy(analysis.hyper)[None], hyper_gain, True)
        omega = torch.from_numpy(analysis.omega)[None]
        coded = net.context(omega * log_gain.exp(), log_gain, active, hyper, level, True)
    difference = np.abs(coded.latents[0].numpy() - symbols.dequantised16 / 16)
    assert np.quantile(difference, 0.99) <= 1.1, "a rounding that falls the other way moves a symbol by one"
    assert np.mean(difference > 0.2) < 0.06
    assert np.mean(coded.residual[0].numpy() != symbols.latents) < 0.06


def test_estimated_bits_match_the_file(codec: TunableCodec) -> None:
    """The ideal length under the tables and the coded length differ by less than half a percent and one flush."""
    rgb = picture(256, 384, 3)
    geometry = Geometry(width=384, height=256)
    target, shift = wanted_at(codec, codec.analyse(rgb), -1.0)

    class Estimate(RangeWriter):
        bits = 0.0

        def code(self, rows, symbols):  # type: ignore[no-untyped-def, override]
            self.bits += float(np.sum(codec.entropy.tables.bits(rows, symbols)))
            return super().code(rows, symbols)

    writer = Estimate(codec.entropy.tables)
    walk(writer, codec.entropy, geometry, shift, target)
    size = 8 * len(writer.finish())
    assert abs(size - writer.bits) <= 0.005 * writer.bits + 64


def test_sums_stay_exact_in_float32(codec: TunableCodec) -> None:
    for group in codec.entropy.groups:
        reach = INPUT_MAX * (np.abs(group.previous.weight).sum(0) + np.abs(group.local.weight).sum(0))
        assert reach.max() < EXACT_LIMIT


def test_inexact_or_float_arrays_are_refused() -> None:
    arrays = dict(tiny_weights().entropy)
    with pytest.raises(CorruptTable):
        EntropyModel(arrays | {"hyper_in.weight": arrays["hyper_in.weight"].astype(np.float32)})
    wide = np.full((4, 20_000, 1, 1), 127, np.int8)
    with pytest.raises(CorruptTable):
        EntropyModel(arrays | {"hyper_up.weight": wide})


def test_hash_sees_every_array() -> None:
    arrays = dict(tiny_weights().entropy)
    before = entropy_hash(arrays)
    for name, array in arrays.items():
        changed = array.copy()
        changed.flat[0] += 1
        assert entropy_hash(arrays | {name: changed}) != before, name


def test_cut_stream_is_noticed(codec: TunableCodec) -> None:
    from gancodec.errors import CorruptFile

    geometry = Geometry(width=128, height=128)
    stream = coded(codec, codec.analyse(picture(128, 128)), geometry, -2.0)
    with pytest.raises(CorruptFile):
        codec.read((stream.data[:8],), stream.frame)
