"""ONNX files: the same numbers as PyTorch's at sizes that nobody traced, the same pictures, and the command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gancodec import weights
from gancodec.codec import DecodeOptions, EncodeOptions, decode_bytes, encode_picture, onnx_export
from gancodec.errors import MissingExtra, UsageError
from gancodec.models.gic1.inference import TunableNetwork
from gancodec.models.inference import Network, build
from gancodec.types import Picture
from gancodec.weights import Weights
from tests.conftest import Run, needs_weights
from tests.tiny import picture, tiny_gic2_weights, tiny_weights, tiny_wu2019_weights

TOLERANCE = 1e-4  # of outputs near 1, in either direction; float32 sums in another order differ by some 1e-6
BLOCKS = [(1, 1, 1), (1, 2, 5)]  # batch, rows, columns; traced are 2, 3, 4
REALISM = 0.3
Session = Callable[..., list[np.ndarray]]


def runner(data: bytes) -> Session:
    """Run an ONNX file on inputs in the order that it states."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing to run ONNX files with")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda *inputs: session.run(None, dict(zip(names, map(np.asarray, inputs), strict=True)))  # type: ignore[no-any-return]


def exported(given: Weights, realism: float | None = None) -> dict[str, bytes]:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason=f"{name} is not installed: nothing to export with")
    return onnx_export.export_onnx(given, realism)


def two_ended() -> Weights:
    """The tiny model with a natural end far from its faithful one, both listening to the level."""
    small = tiny_weights()
    rng = np.random.default_rng(3)
    arrays = dict(small.network)
    for name, values in small.network.items():
        if name.startswith("generator."):
            lively = values if "film" not in name else rng.normal(0, 0.3, values.shape)
            other = lively + rng.normal(0, 0.05, values.shape)
            arrays[name], arrays[f"natural.{name[10:]}"] = lively.astype(np.float16), other.astype(np.float16)
    return Weights(replace(small.info, default_realism=1.0), small.entropy, arrays)


@pytest.fixture(scope="module")
def tiny() -> tuple[Network, dict[str, bytes]]:
    given = two_ended()
    return build(given, torch.device("cpu")), exported(given, REALISM)


@pytest.fixture(scope="module")
def shipped() -> tuple[Network, dict[str, bytes]]:
    given = weights.get(None)
    return build(given, torch.device("cpu")), exported(given, 0.0)


def check_encoder(network: Network, data: bytes, size: tuple[int, int, int]) -> None:
    batch, rows, columns = size
    rgb = np.stack([picture(64 * rows, 64 * columns, seed) for seed in range(batch)]).transpose(0, 3, 1, 2)
    x = (rgb / 255).astype(np.float32)
    with torch.inference_mode():
        expected = network.model.analyse(torch.from_numpy(x))
    for found, wanted in zip(runner(data)(x), expected, strict=True):
        assert found.shape == tuple(wanted.shape)
        assert np.abs(found - wanted.numpy()).max() <= TOLERANCE * max(1.0, float(wanted.abs().max()))


def check_generator(network: Network, data: bytes, size: tuple[int, int, int], realism: float) -> None:
    batch, rows, columns = size
    rng = np.random.default_rng(rows)
    latent = rng.normal(0, 1, (batch, network.model.config.latent_channels, 4 * rows, 4 * columns)).astype(np.float32)
    mixed = rng.uniform(0, 31, (batch, rows, columns)).astype(np.float32)
    mixed.flat[:2] = 0, 31  # the ends of the knots; one block alone stays at the lowest
    run, seen = runner(data), []
    for level in (np.full_like(mixed, 17.5), mixed):
        with torch.inference_mode():
            wanted = network.model.generate(torch.from_numpy(latent), torch.from_numpy(level), realism).numpy()
        (found,) = run(latent, level)
        assert found.shape == wanted.shape == (batch, 3, 64 * rows, 64 * columns)
        assert np.abs(found - wanted).max() <= TOLERANCE * max(1.0, np.abs(wanted).max())
        assert np.abs(eight_bits(found) - eight_bits(wanted)).max() <= 1
        seen.append(found)
    assert np.abs(seen[0] - seen[1]).max() > 100 * TOLERANCE, "the level has a say"


def eight_bits(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(int)


@pytest.mark.parametrize("size", [*BLOCKS, (3, 4, 2)])
def test_tiny_encoder(tiny: tuple[Network, dict[str, bytes]], size: tuple[int, int, int]) -> None:
    check_encoder(tiny[0], tiny[1]["encoder"], size)


@pytest.mark.parametrize("size", [*BLOCKS, (3, 4, 2)])
def test_tiny_generator_between_its_ends(tiny: tuple[Network, dict[str, bytes]], size: tuple[int, int, int]) -> None:
    check_generator(tiny[0], tiny[1]["generator"], size, REALISM)
    with pytest.raises(AssertionError):
        check_generator(tiny[0], tiny[1]["generator"], size, 0.0)


@needs_weights
@pytest.mark.parametrize("size", BLOCKS)
def test_shipped_model(shipped: tuple[Network, dict[str, bytes]], size: tuple[int, int, int]) -> None:
    check_encoder(shipped[0], shipped[1]["encoder"], size)
    check_generator(shipped[0], shipped[1]["generator"], size, 0.0)


@needs_weights
def test_a_file_decodes_to_the_same_picture(
    shipped: tuple[Network, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 1 of 255, though PyTorch may compute in bfloat16 here and ONNX does not."""
    data = encode_picture(Picture(picture(150, 333, 5)), EncodeOptions(n=-1.0, device="cpu")).data
    expected = decode_bytes(data, DecodeOptions(device="cpu", realism=0.0)).rgb
    run, calls = runner(shipped[1]["generator"]), []

    def generate(planes: tuple[torch.Tensor, ...], place: tuple[int, int]) -> torch.Tensor:
        latent, level = planes
        assert place == (0, 0), "one tile"
        calls.append(latent.shape)
        return torch.from_numpy(run(latent.numpy(), level.numpy())[0])

    monkeypatch.setattr(TunableNetwork, "_generator", lambda self, realism, reduce=1: generate)
    found = decode_bytes(data, DecodeOptions(device="cpu", realism=0.0)).rgb
    assert calls == [(1, shipped[0].model.config.latent_channels, 12, 24)]
    assert found.shape == (150, 333, 3)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_files_say_what_they_are(tiny: tuple[Network, dict[str, bytes]]) -> None:
    import onnx

    from gancodec import __version__

    info = tiny_weights().info
    for part, data in tiny[1].items():
        proto = onnx.load_from_string(data)
        about = {entry.key: entry.value for entry in proto.metadata_props}
        assert (about["model"], about["model_id"]) == ("gic1-tiny", "65535")
        assert about["entropy_hash"] == info.entropy_hash.hex()
        assert (about["gancodec_version"], about["opset"]) == (__version__, "18")
        assert about.get("realism") == (f"{REALISM:g}" if part == "generator" else None)
        assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 18)]
        assert str(Path(onnx_export.__file__).parent).encode() not in data, "no local folder"
        for value in (*proto.graph.input, *proto.graph.output):
            free = [bool(size.dim_param) for size in value.type.tensor_type.shape.dim]
            assert free == ([True, False, True, True] if len(free) == 4 else [True, True, True]), value.name


@pytest.mark.parametrize("realism", [0.5, 1.5, float("nan")])
def test_a_realism_that_the_model_has_not(realism: float) -> None:
    with pytest.raises(UsageError, match="realism"):
        exported(tiny_weights(), realism)


@pytest.mark.parametrize("name", ["onnx", "onnxscript"])
def test_missing_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra) as raised:
        onnx_export.export_onnx(tiny_weights())
    assert str(raised.value) == "ONNX export needs an optional package: pip install 'gancodec[onnx]'"


# --- the command


@pytest.fixture
def go(run: Run, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))
    return run


NAMES = ["gic1-tiny-encoder.onnx", "gic1-tiny-generator.onnx"]


def test_command_writes_both(go: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def export_onnx(given: Weights, realism: float | None) -> dict[str, bytes]:
        asked.append((given.info.name, realism))
        return {"encoder": b"first", "generator": b"second"}

    monkeypatch.setattr(onnx_export, "export_onnx", export_onnx)
    folder = tmp_path / "new"
    ran = go("export", "-o", folder, "--realism", "0")
    assert (ran.code, asked) == (0, [("gic1-tiny", 0.0)])
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert [(folder / name).read_bytes() for name in NAMES] == [b"first", b"second"]
    (folder / NAMES[0]).unlink()
    ran = go("export", "-o", folder)
    assert (ran.code, len(asked)) == (6, 1)
    assert ran.err == f"gancodec: {folder / NAMES[1]} exists (-f overwrites)\n"
    assert [path.name for path in folder.iterdir()] == NAMES[1:], "nothing is written beside what stays"
    assert go("export", "-o", folder, "-f", "-q").err == ""
    assert sorted(path.name for path in folder.iterdir()) == NAMES


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--realism", "1"], 2, "realism 1: gic1-tiny has 0"),
        (["--model", "other"], 4, "model other: unknown"),
    ],
)
def test_command_refuses(go: Run, tmp_path: Path, arguments: list[str], code: int, text: str) -> None:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason=f"{name} is not installed: nothing to export with")
    ran = go("export", "-o", tmp_path / "x", *arguments)
    assert ran.code == code
    assert text in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_command_without_the_package(go: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    ran = go("export", "-o", tmp_path / "x")
    assert (ran.code, ran.err) == (
        4,
        "gancodec: ONNX export needs an optional package: pip install 'gancodec[onnx]'\n",
    )
    assert not (tmp_path / "x").exists()


def test_wu2019_networks() -> None:
    """Its encoder checked as the others are; its generator takes z alone."""
    given = tiny_wu2019_weights()
    net, files = build(given, torch.device("cpu")), exported(given)
    check_encoder(net, files["encoder"], (1, 1, 1))
    check_encoder(net, files["encoder"], (2, 3, 2))
    for rows, columns in ((1, 1), (3, 2)):
        z = np.random.default_rng(rows).integers(0, 4, (2, 16, 8 * rows, 8 * columns)).astype(np.float32)
        with torch.inference_mode():
            wanted = net.model.generator(torch.from_numpy(z)).numpy()
        (found,) = runner(files["generator"])(z)
        assert found.shape == wanted.shape == (2, 3, 64 * rows, 64 * columns)
        assert np.abs(found - wanted).max() <= TOLERANCE * max(1.0, np.abs(wanted).max())


def test_gic2_networks() -> None:
    """Its encoder checked as the others are; its receiver takes latents and positions, and knows no borders of
    blocks."""
    given = tiny_gic2_weights()
    net, files = build(given, torch.device("cpu")), exported(given)
    for size in ((1, 1, 1), (2, 3, 2), (1, 2, 5)):
        check_encoder(net, files["encoder"], size)
        batch, rows, columns = size
        rng = np.random.default_rng(rows)
        latent = rng.normal(0, 1, (batch, 8, 4 * rows, 4 * columns)).astype(np.float32)
        mixed = rng.uniform(0, 1, (batch, rows, columns)).astype(np.float32)
        mixed.flat[: mixed.size - 1] = np.resize([0, 1, 1 / 8], mixed.size - 1)  # knots, both ends among them
        seen = []
        for position in (np.full_like(mixed, 0.55), mixed):
            with torch.inference_mode():
                wanted = net.model.generate(torch.from_numpy(latent), torch.from_numpy(position)).numpy()
            (found,) = runner(files["generator"])(latent, position)
            assert found.shape == wanted.shape == (batch, 3, 64 * rows, 64 * columns)
            assert np.abs(found - wanted).max() <= TOLERANCE * max(1.0, np.abs(wanted).max())
            seen.append(found)
        assert np.abs(seen[0] - seen[1]).max() > 100 * TOLERANCE, "the level has a say"
    with pytest.raises(UsageError, match="realism"):
        exported(given, 0.5)
