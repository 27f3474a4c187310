"""A codec that the package does not know: an entry in each of four tables, and everything works with it.

The toy (`tests.toy`) has two grids of latents of different strides and a map of classes, which is of another type.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from gancodec import cli, container, pillow_plugin, weights
from gancodec.codec import (
    Box,
    DecodeOptions,
    EncodeOptions,
    decode_bytes,
    encode_picture,
    read_allocation,
    read_symbols,
    verify_bytes,
)
from gancodec.codec.api import codec_of
from gancodec.container import Container, Header, Tiles, spec
from gancodec.entropy.coder import OnSymbols
from gancodec.entropy.rangecoder import RangeWriter
from gancodec.errors import CorruptFile, UnsupportedFile, UsageError
from gancodec.metrics import psnr
from gancodec.models import stream
from gancodec.models.guidance import UNGUIDED
from gancodec.models.inference import Graph, build
from gancodec.models.registry import MODELS
from gancodec.models.stream import Frame, NextCoder
from gancodec.tiling import Area
from gancodec.train.freeze import freeze, install
from gancodec.train.loop import LAST, Job, train
from gancodec.train.recipes import RECIPES
from gancodec.train.state import networks
from gancodec.types import Geometry, Picture
from gancodec.weights import Weights
from tests.conftest import Ran, Run
from tests.test_container import chunk, head
from tests.tiny import held, picture, tiny_weights
from tests.toy.codec import TRIM, ToyCodec
from tests.toy.config import CLASS, COARSE, CODEC_TOY, FINE, TOY_TINY
from tests.toy.entries import ENTRIES
from tests.toy.inference import ToyNetwork
from tests.toy.network import ToyModel
from tests.toy.symbols import Symbols, ToyIntegers, toy_arrays, walk
from tests.toy.training import ToyTrained

TOY, OTHER, SIDE = TOY_TINY.name, "gic1-tiny", 256
HEIGHT, WIDTH = 200, 300
BOX = Box(64, 64, 128, 64)
ROOT = Path(__file__).resolve().parent.parent
TILE_CONSTANTS = {"gancodec.models.stream:TILE_SIDE", "gancodec.models.stream:TILED_FROM"}
GROWING = {"gancodec.weights:_loaded", "gancodec.batch.job:_trimmed"}  # what the package itself changes as it works
Pixels = NDArray[np.uint8]
both = pytest.mark.parametrize("entropy", ["range", "huffman"])


# --- four entries, and nothing else


def standing() -> dict[str, tuple[Any, dict[Any, Any] | None]]:
    """What every name of the package stands for, of modules and of their classes; of a table its entries as well."""
    found: dict[str, Any] = {}
    for name in [name for name in sys.modules if name.split(".")[0] == "gancodec"]:
        for key, value in list(vars(sys.modules[name]).items()):
            if not key.startswith("__"):
                found[f"{name}:{key}"] = value
            if isinstance(value, type) and value.__module__ == name:
                found |= {f"{name}:{key}.{k}": v for k, v in vars(value).items() if k != "__annotations__"}
    return {k: (v, dict(v) if isinstance(v, dict) else None) for k, v in found.items() if k not in GROWING}


def changes(before: dict[str, tuple[Any, dict[Any, Any] | None]]) -> tuple[set[str], set[int]]:
    """Names that stand for something else than before, and ids of the tables that have other entries."""
    now = standing()
    names = {name for name, (value, _) in before.items() if name not in now or now[name][0] is not value}
    tables = set()
    for name in before.keys() - names:
        (table, old), (_, new) = before[name], now[name]
        if old is not None and new is not None:
            if old.keys() != new.keys() or any(old[key] is not new[key] for key in old):
                tables.add(id(table))
    return names, tables


@lru_cache(maxsize=1)
def toy_weights() -> Weights:
    """The toy with seeded weights: latents, classes and importance are lively."""
    torch.manual_seed(15)
    net = networks(RECIPES[TOY])
    assert isinstance(net, ToyTrained)
    return freeze(net.eval(), MODELS[TOY], [picture(192, 256, seed) for seed in range(3)])


@pytest.fixture(scope="module", autouse=True)
def before() -> Iterator[dict[str, tuple[Any, dict[Any, Any] | None]]]:
    """The package as it is without the toy, which is among the four tables from here on."""
    for module in pkgutil.iter_modules(cli.__path__):
        import_module(f"gancodec.cli.{module.name}")
    known = standing()
    with pytest.MonkeyPatch.context() as patch:
        for table, key, value in ENTRIES:
            assert key not in table
            patch.setitem(table, key, value)
        yield known


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Several would wait for each other more than they compute, with networks this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def four_tables(
    before: dict[str, tuple[Any, dict[Any, Any] | None]],
    monkeypatch: pytest.MonkeyPatch,  # asked for, so that at the end of a test its patches still hold
    request: pytest.FixtureRequest,
) -> Iterator[None]:
    """Fail a test with which anything is patched but the tables: the constants of tiles, where it is about tiles."""
    yield
    names, tables = changes(before)
    assert names == (TILE_CONSTANTS if "small_tiles" in request.fixturenames else set())
    assert tables == {id(table) for table, _, _ in ENTRIES}
    assert len(tables) == 4


@pytest.fixture(scope="module", autouse=True)
def folder(before: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """GANCODEC_WEIGHTS with the toy, the default, and a model of another codec."""
    place = tmp_path_factory.mktemp("weights")
    install(toy_weights(), MODELS[TOY], place, {"description": "seeded, for tests"})
    install(tiny_weights(), MODELS[OTHER], place, {"description": "seeded, for tests"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(weights.ENVIRONMENT, str(place))
        yield place


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles so small that a small picture has some. These constants are no part of adding a codec."""
    monkeypatch.setattr(stream, "TILE_SIDE", SIDE)
    monkeypatch.setattr(stream, "TILED_FROM", SIDE**2)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A PNG file, 300x200."""
    path = tmp_path / "photo.png"
    Image.fromarray(picture(HEIGHT, WIDTH)).save(path)
    return path


def codec() -> ToyCodec:
    """That of the installed model."""
    found = codec_of(weights.get(TOY), "cpu")
    assert isinstance(found, ToyCodec)
    return found


def encoded(rgb: Pixels, **options: Any) -> bytes:
    """The file of a picture."""
    return encode_picture(Picture(rgb), EncodeOptions(**options)).data


def pixels(path: Path | io.BytesIO) -> Pixels:
    """Of a picture file."""
    with Image.open(path) as image:
        return np.asarray(image)


def sound(ran: Ran) -> Ran:
    """A command that did what was asked."""
    assert ran.code == 0, ran.err
    return ran


def records(out: bytes) -> list[dict[str, Any]]:
    """Lines of JSON."""
    return [json.loads(line) for line in out.splitlines()]


def test_a_fresh_process_needs_the_four_entries_alone_and_no_torch_for_integers(photo: Path, tmp_path: Path) -> None:
    """Reading symbols, verifying and telling of a file; encoding and decoding have torch."""
    code = (
        "import sys\n"
        "if sys.argv[1] == 'verify': sys.modules['torch'] = None\n"
        "from tests.toy.entries import ENTRIES\n"
        "for table, key, value in ENTRIES: table[key] = value\n"
        "from gancodec.cli.app import main\n"
        "main(sys.argv[1:])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    target = tmp_path / "photo.gic"
    for words in (("encode", photo, "-o", target, "--n", "0"), ("verify", target)):
        ran = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, timeout=120)
        assert ran.returncode == 0, ran.stderr.decode()
    assert target.read_bytes() == encoded(picture(HEIGHT, WIDTH), n=0.0)


# --- encode and decode


def painted(symbols: Symbols, **changed: NDArray[np.generic]) -> Pixels:
    """What the generator makes of symbols, asked directly."""
    toy = codec()
    planes = toy.planes(symbols._replace(**changed), Frame(Geometry(WIDTH, HEIGHT)))
    assert [(p.values.dtype, p.stride) for p in planes] == [(np.uint8, CLASS), (np.float32, COARSE), (np.float32, FINE)]
    with torch.inference_mode():
        made = toy.network.model.generator(*(torch.from_numpy(p.values)[None] for p in planes))
    return (made[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()[:HEIGHT, :WIDTH]


def off(a: Pixels, b: Pixels) -> int:
    """The largest difference of two pictures."""
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


@both
def test_round_trip(entropy: str, photo: Path, tmp_path: Path, run: Run) -> None:
    """Symbols are those that were wanted, and the picture is what the generator makes of them and of nothing else."""
    coded, back = tmp_path / "photo.gic", tmp_path / "back.png"
    sound(run("encode", photo, "-o", coded, "--n", "-2", "--entropy", entropy))
    sound(run("decode", coded, "-o", back))
    header = container.read(coded.read_bytes()).header
    assert (header.codec, header.model, header.n, header.level_shift) == (CODEC_TOY, TOY_TINY.id, -2000, 0)
    toy, symbols = codec(), read_symbols(coded.read_bytes())
    analysis = toy.analyse(picture(HEIGHT, WIDTH))
    wanted = toy.wanted_of(analysis, toy.levels_at(analysis, -2.0))
    assert isinstance(symbols, Symbols)
    for read, written in zip(symbols, wanted, strict=True):
        assert read.dtype == written.dtype
        np.testing.assert_array_equal(read, written)
    assert [v.shape for v in symbols] == [(8, 10), (8, 10), (3, 16, 20), (6, 32, 40)]
    assert symbols.classes.dtype == np.uint8
    assert len(np.unique(symbols.classes)) >= 4
    assert len(np.unique(symbols.depth)) >= 3
    assert symbols.fine.any(axis=(1, 2)).all()
    assert symbols.coarse.any(axis=(1, 2)).all()
    made = pixels(back)
    assert off(made, painted(symbols)) <= 1
    for name in ("classes", "coarse", "fine"):
        assert off(made, painted(symbols, **{name: np.zeros_like(getattr(symbols, name))})) > 10, f"{name} matters"


@both
@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
def test_a_rate_is_hit(entropy: str, share: float, photo: Path, tmp_path: Path, run: Run) -> None:
    """Within 1 % below it."""
    rgb, coded = picture(HEIGHT, WIDTH), tmp_path / "photo.gic"
    most, least = (8 * len(encoded(rgb, n=n, entropy=entropy)) / (HEIGHT * WIDTH) for n in (-8.0, 8.0))
    assert most > 4 * least
    bpp = least + share * (most - least)
    (record,) = records(
        sound(run("encode", photo, "-o", coded, "--bpp", bpp, "--entropy", entropy, "--strict", "--json")).out
    )
    assert 0.99 * bpp <= 8 * coded.stat().st_size / (HEIGHT * WIDTH) <= bpp
    assert record["bpp"] == 8 * coded.stat().st_size / (HEIGHT * WIDTH)
    assert (record["hit"], record["model"]) == (True, TOY)
    verify_bytes(coded.read_bytes())


def test_n_and_trims_take_channels() -> None:
    toy = codec()
    analysis = toy.analyse(picture(HEIGHT, WIDTH))
    depths = [toy.levels_at(analysis, n).values for n in (-8.0, -1.0, 0.0, 1.0, 8.0)]
    assert all((a >= b).all() and a.sum() > b.sum() for a, b in zip(depths, depths[1:], strict=False))
    assert (depths[0].min(), depths[-1].max()) == (TOY_TINY.fine, 0)
    levels = toy.levels_at(analysis, -8.0)
    for trim in (1, 100, TRIM):
        lost = TOY_TINY.fine - toy.wanted_of(analysis, levels, trim=trim).depth
        assert lost.mean() == pytest.approx(trim / TRIM, abs=0.03)


def test_tables_are_fitted_to_what_is_coded() -> None:
    """With those that have seen no picture a file would be larger."""
    toy = codec()
    symbols = toy.symbols(container.read(encoded(picture(HEIGHT, WIDTH, 9), n=-1.0)))
    bits = []
    for tables in (toy.entropy.tables, ToyIntegers(toy_arrays(TOY_TINY)).tables):
        coder = RangeWriter(tables)
        toy.walk(lambda coder=coder: coder, Frame(Geometry(WIDTH, HEIGHT)), symbols)  # type: ignore[misc]
        bits.append(len(coder.finish()))
    assert bits[0] < 0.95 * bits[1]


class TwoSlices(ToyCodec):
    """The toy with its fine latents in a slice of their own."""

    def walk(
        self, next_coder: NextCoder, frame: Frame, wanted: Symbols | None, on_symbols: OnSymbols | None = None
    ) -> Symbols:
        return walk(next_coder, self.entropy, frame.geometry, wanted, on_symbols, apart=True)


@both
def test_a_stream_may_have_several_slices(entropy: str) -> None:
    """They are read as they were written, their bits are counted, and none may be missing, left over or exchanged."""
    apart, frame = TwoSlices(toy_weights(), "cpu"), Frame(Geometry(WIDTH, HEIGHT), entropy)
    wanted = codec().symbols(container.read(encoded(picture(HEIGHT, WIDTH), n=-2.0)))
    slices = apart.write(wanted, frame)
    assert len(slices) == 2
    assert min(map(len, slices)) > 100
    for read, written in zip(apart.read(slices, frame), wanted, strict=True):
        np.testing.assert_array_equal(read, written)
    assert apart.block_bits(slices, frame).sum() == pytest.approx(8 * sum(map(len, slices)))
    first, second = slices
    for damaged in ((first,), (), (first, second, b""), (second, first), (first, b""), (first, second[:-1])):
        with pytest.raises(CorruptFile):
            apart.read(damaged, frame)
    draft = apart.prepare(picture(HEIGHT, WIDTH), UNGUIDED, EncodeOptions(entropy=entropy))
    assert len(draft.plain().streams[0]) == 2
    with pytest.raises(UsageError, match="several slices"):  # by its row it has one
        Container.of(draft.header, draft.plain().streams)


def test_regions_of_interest_get_more(photo: Path, tmp_path: Path, run: Run) -> None:
    """Importance and bits rise inside the box and fall outside of it."""
    for name, words in {"plain": (), "boxed": ("--roi-box", BOX)}.items():
        sound(run("encode", photo, "-o", tmp_path / f"{name}.gic", "--n", "0", *words))
    plain, boxed = (read_allocation((tmp_path / f"{name}.gic").read_bytes()) for name in ("plain", "boxed"))
    area = Area(BOX.top, BOX.top + BOX.height, BOX.left, BOX.left + BOX.width)
    shown = [
        ((plain.maps[0].plane, boxed.maps[0].plane), 1.3, 0.95),
        ((plain.bits, boxed.bits), 1.2, 0.95),
    ]
    for (a, b), rises, falls in shown:
        assert a is not None
        assert b is not None
        assert a.values.shape == b.values.shape == (256 // a.stride, 320 // a.stride)
        inside = np.zeros(a.values.shape, bool)
        inside[area.slices(a.stride)] = True
        assert b.values[inside].mean() > rises * a.values[inside].mean()
        assert b.values[~inside].mean() < falls * a.values[~inside].mean()


# --- damage


def changed(data: bytes, position: int, mask: int) -> bytes:
    """`data` with the bits of `mask` flipped at `position`."""
    return data[:position] + bytes((data[position] ^ mask,)) + data[position + 1 :]


@both
def test_every_flipped_byte_is_refused(entropy: str) -> None:
    data = encoded(picture(48, 40), n=1.0, entropy=entropy)
    verify_bytes(data)
    assert decode_bytes(data).rgb.shape == (48, 40, 3)
    for position in range(len(data)):
        for mask in (0x01, 0x80, 0xFF):
            for read in (verify_bytes, decode_bytes):
                with pytest.raises((CorruptFile, UnsupportedFile)) as caught:
                    read(changed(data, position, mask))
                assert len(str(caught.value).splitlines()) == 1, position


@both
def test_flipped_bytes_under_good_checksums_are_refused_or_a_picture(entropy: str) -> None:
    """Never a traceback, and never the symbols of the sound file."""
    parsed = container.read(encoded(picture(70, 90), n=-1.0, entropy=entropy))
    symbols, refused = codec().symbols(parsed), 0
    for position in range(len(parsed.image)):
        forged = container.write(replace(parsed, image=changed(parsed.image, position, 0x10)))
        try:
            verify_bytes(forged)
        except CorruptFile:
            refused += 1
            with pytest.raises(CorruptFile):
                decode_bytes(forged)
        else:
            assert any((a != b).any() for a, b in zip(symbols, read_symbols(forged), strict=True)), position
            assert position % 8 or decode_bytes(forged).rgb.shape == (70, 90, 3)
    assert refused > len(parsed.image) // 10
    for image in (parsed.image[:-4], parsed.image + bytes(4), b""):
        with pytest.raises(CorruptFile):
            verify_bytes(container.write(replace(parsed, image=image)))


def test_verify_and_decode_say_what_is_wrong_in_one_line(photo: Path, tmp_path: Path, run: Run) -> None:
    good, bad, target = tmp_path / "good.gic", tmp_path / "bad.gic", tmp_path / "bad.png"
    sound(run("encode", photo, "-o", good, "--n", "1"))
    assert f"{good}: ok" in sound(run("verify", good)).out.decode()
    bad.write_bytes(changed(good.read_bytes(), good.stat().st_size // 2, 0x04))
    for words in (("verify", bad), ("decode", bad, "-o", target)):
        ran = run(*words)
        assert (ran.code, ran.out, len(ran.err.splitlines())) == (3, b"", 1)
    assert not target.exists()


def forged(header: Header, image: bytes) -> bytes:
    """A file with any header, under checksums that fit."""
    return head(header) + chunk(spec.IMAGE, image) + chunk(spec.END, b"")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("level_shift", 1, "codec 200 has no levels, so its level_shift must be 0"),
        ("coder", spec.CODER_WEBP, "coder 2 is not of codec 200"),
        ("model", 0, "codec 200 needs a model"),
    ],
)
def test_the_header_keeps_to_the_rules_of_its_row(field: str, value: int, said: str) -> None:
    parsed = container.read(encoded(picture(64, 64), n=0.0))
    assert container.read(forged(parsed.header, parsed.image)).header == parsed.header
    lie = replace(parsed.header, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=said):
        container.write(replace(parsed, header=lie))
    with pytest.raises(CorruptFile, match=said):
        container.read(forged(lie, parsed.image))


def test_tiles_keep_to_the_rules_of_their_row(small_tiles: None) -> None:
    parsed = container.read(encoded(picture(330, 600), n=1.0))
    assert parsed.tiles is not None
    assert parsed.tiles.side == SIDE
    with pytest.raises(UsageError, match="512 pixels a side, must be one of 256, 2048"):
        container.write(replace(parsed, tiles=Tiles(512, (len(parsed.image), 0))))


# --- looking at files


@both
def test_info(entropy: str, photo: Path, tmp_path: Path, run: Run) -> None:
    coded = tmp_path / "photo.gic"
    sound(run("encode", photo, "-o", coded, "--n", "1.25", "--entropy", entropy))
    (told,) = records(sound(run("info", coded, "--json")).out)
    assert (told["codec"], told["model_name"], told["model"], told["coder"]) == ("toy", TOY, TOY_TINY.id, entropy)
    assert (told["model_installed"], told["n"], told["synthetic_detail"]) == (True, 1.25, False)
    assert "codec toy" in sound(run("info", coded)).out.decode()
    models = {model["name"]: model for model in records(sound(run("models", "--json")).out)}
    assert models.keys() == {TOY, OTHER}
    assert models[TOY]["default"]
    assert models[TOY]["hash"] == told["model_hash"]


def test_inspect(photo: Path, tmp_path: Path, run: Run) -> None:
    """Of a picture and of its file: panels of the picture's size, importance in [0, 1], bits that add up."""
    coded = tmp_path / "photo.gic"
    sound(run("encode", photo, "-o", coded, "--n", "0"))
    allocation = read_allocation(coded.read_bytes())
    importance = allocation.maps[0].plane
    assert importance.stride == CLASS
    np.testing.assert_array_equal(importance.values, read_symbols(coded.read_bytes()).depth / TOY_TINY.fine)
    assert 0 <= importance.values.min() < importance.values.max() <= 1
    assert allocation.bits is not None
    image = container.read(coded.read_bytes()).image
    assert allocation.bits.values.sum() == pytest.approx(8 * len(image))
    for source, words in ((photo, ("--n", "0")), (coded, ("--original", photo))):
        out = tmp_path / f"{source.suffix[1:]}-panels"
        (told,) = records(sound(run("inspect", source, "--out", out, "--json", *words)).out)
        assert {p.stem for p in out.iterdir()} >= {
            "original",
            "saliency",
            "importance",
            "bits",
            "decoded",
            "error",
            "inspect",
        }
        assert all(
            pixels(out / f"{name}.png").shape == (HEIGHT, WIDTH, 3) for name in ("importance", "bits", "decoded")
        )
        assert len(np.unique(pixels(out / "importance.png").reshape(-1, 3), axis=0)) == len(
            np.unique(importance.values)
        )
        assert off(pixels(out / "decoded.png"), decode_bytes(coded.read_bytes()).rgb) == 0
        assert told["importance_min"] == importance.values.min()
        assert told["importance_max"] == importance.values.max()
        assert told["coded_bits"] == pytest.approx(8 * len(image))


# --- tiles, regions, smaller pictures


@both
def test_tiles_hold_the_same_picture(entropy: str, small_tiles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = picture(330, 600, 7)
    data = encoded(rgb, n=-0.5, entropy=entropy)
    parsed = container.read(data)
    assert parsed.tiles is not None
    assert len(parsed.tiles.lengths) == 6
    verify_bytes(data)
    monkeypatch.setattr(stream, "TILED_FROM", 1 << 40)
    whole = encoded(rgb, n=-0.5, entropy=entropy)
    assert container.read(whole).tiles is None
    for cut, uncut in zip(read_symbols(data), read_symbols(whole), strict=True):
        assert cut.dtype == uncut.dtype
        np.testing.assert_array_equal(cut, uncut)
    np.testing.assert_array_equal(decode_bytes(data).rgb, decode_bytes(whole).rgb)
    a, b = read_allocation(data), read_allocation(whole)
    np.testing.assert_array_equal(a.maps[0].plane.values, b.maps[0].plane.values)
    assert a.bits is not None
    assert a.bits.values.shape == (6, 10)
    assert a.bits.values.sum() == pytest.approx(8 * len(parsed.image))


def test_a_rate_is_hit_with_tiles(small_tiles: None) -> None:
    rgb = picture(330, 600, 7)
    target = round(0.8 * len(encoded(rgb, n=0.0)))
    data = encoded(rgb, size=target, strict=True)
    assert container.read(data).tiles is not None
    assert 0.99 * target <= len(data) <= target


@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("box", [(250, 30, 77, 90), (0, 0, 64, 64), (599, 329, 9, 9)])
def test_regions_and_smaller_pictures(
    tiles: bool,
    box: tuple[int, int, int, int],
    small_tiles: None,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A region is what the whole has there, and a smaller picture has the means, both within a rounding step."""
    path, part = tmp_path / "large.gic", tmp_path / "part.png"
    left, top, width, height = box
    if not tiles:
        monkeypatch.setattr(stream, "TILED_FROM", 1 << 40)
    path.write_bytes(encoded(picture(330, 600, 7), n=-0.5))
    assert (container.read(path.read_bytes()).tiles is not None) is tiles
    whole = decode_bytes(path.read_bytes()).rgb
    bottom, right = min(top + height, len(whole)), min(left + width, whole.shape[1])
    assert 0 < whole.std(), "not a picture of one colour"
    sound(run("decode", path, "-o", part, "--region", f"{left},{top},{width},{height}"))
    assert off(pixels(part), whole[top:bottom, left:right]) <= 1
    for step in (2, 4, 8):
        small, cropped = tmp_path / f"{step}.png", tmp_path / f"{step}-part.png"
        sound(run("decode", path, "-o", small, "--scale", f"1/{step}"))
        sound(run("decode", path, "-o", cropped, "--scale", f"1/{step}", "--region", f"{left},{top},{width},{height}"))
        found, (rows, columns) = pixels(small), (side // step for side in whole.shape[:2])
        assert found.shape == (-(-len(whole) // step), -(-whole.shape[1] // step), 3)
        cells = whole[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
        clear = ~(cells % 255 == 0).any((1, 3))  # clipping comes after the mean
        assert clear.mean() > 0.5
        assert np.abs(found[:rows, :columns] - cells.mean((1, 3)))[clear].max() <= 1
        there = found[top // step : -(-bottom // step), left // step : -(-right // step)]
        assert off(pixels(cropped), there) <= 1


def test_only_tiles_of_the_region_are_read(small_tiles: None) -> None:
    parsed = container.read(encoded(picture(330, 600, 7), n=-0.5))
    assert parsed.tiles is not None
    last = parsed.tiles.lengths[-1]
    damaged = container.write(replace(parsed, image=parsed.image[:-last] + bytes(last)))
    with pytest.raises(CorruptFile):
        verify_bytes(damaged)
    with pytest.raises(CorruptFile):
        decode_bytes(damaged, DecodeOptions(region=(500, 300, 50, 20)))
    region = DecodeOptions(region=(0, 0, 64, 64))
    np.testing.assert_array_equal(decode_bytes(damaged, region).rgb, decode_bytes(container.write(parsed), region).rgb)


def test_networks_see_the_same_in_tiles() -> None:
    """A picture that is wider than what the networks take at once, against the networks on all of it."""
    rgb = picture(64, 2304, 3)
    network = codec().network
    assert isinstance(network, ToyNetwork)
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        whole = [v[0].numpy() for v in network.model.analyse(x)]
    for found, expected in zip(network.analyse(rgb), whole, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    data = encoded(rgb, n=-1.0)
    planes = codec().planes(read_symbols(data), Frame(Geometry(2304, 64)))  # type: ignore[arg-type]
    with torch.inference_mode():
        made = network.model.generator(*(torch.from_numpy(p.values)[None] for p in planes))
    expected = (made[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert off(network.synthesise(held(*planes), Geometry(2304, 64), 0.0), expected) <= 1
    assert off(decode_bytes(data).rgb, expected) <= 1


def test_halos_cover_the_reach() -> None:
    """Gradients of a block end before the halo does."""
    model, halo = ToyModel(TOY_TINY).eval(), ToyNetwork.generator_halo
    assert ToyNetwork.encoder_halo == halo
    side, block = 2 * halo + 64, Area(halo, halo + 64, halo, halo + 64)
    classes = torch.zeros(1, side // CLASS, side // CLASS, dtype=torch.uint8)
    coarse = torch.randn(1, TOY_TINY.coarse, side // COARSE, side // COARSE, requires_grad=True)
    fine = torch.randn(1, TOY_TINY.fine, side // FINE, side // FINE, requires_grad=True)
    x = torch.rand(1, 3, side, side, requires_grad=True)
    model.generator(classes, coarse, fine)[block.sites(1)].sum().backward()
    model.encoder(x).fine[block.sites(FINE)].sum().backward()
    for plane, stride in ((coarse, COARSE), (fine, FINE), (x, 1)):
        assert plane.grad is not None
        touched = plane.grad.abs().sum((0, 1)).nonzero()
        assert 0 < touched.min() < halo / stride, "beyond the block, but not out of the halo"
        assert touched.max() < side // stride - 1


def test_graphs_are_what_their_ports_say() -> None:
    encoder, generator = build(weights.get(TOY), torch.device("cpu")).graphs(0.0)

    def outputs(graph: Graph) -> tuple[torch.Tensor, ...]:
        fed = []
        for port in graph.inputs:
            channels = () if port.channels is None else (port.channels,)
            fed.append(torch.zeros(2, *channels, 64 // port.stride, 128 // port.stride, dtype=port.dtype))
        with torch.no_grad():
            made = graph.module(*fed)
        return made if isinstance(made, tuple) else (made,)

    shapes = [tuple(v.shape) for v in outputs(encoder)]
    assert shapes == [(2, 6, 8, 16), (2, 3, 4, 8), (2, 2, 4), (2, 2, 4)]
    assert len(encoder.outputs) == len(shapes)
    (made,) = outputs(generator)
    assert made.shape == (2, 3, 64, 128)


# --- many pictures


def test_batch_goes_on_and_knows_its_settings(tmp_path: Path, run: Run) -> None:
    source, out, back = tmp_path / "in", tmp_path / "out", tmp_path / "back"
    source.mkdir()
    for seed in range(3):
        Image.fromarray(picture(70, 90, seed)).save(source / f"{seed}.png")
    log = out / "manifest.jsonl"

    def batch(*words: str | Path) -> Ran:
        return run("batch", "--jobs", "1", "--json", *words)

    def files() -> dict[str, tuple[bytes, int]]:
        return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.glob("*.gic")}

    done = records(sound(batch(source, "-d", out, "--n", "0")).out)
    assert [record["model"] for record in done] == [TOY] * 3
    lines = records(log.read_bytes())
    assert sorted(Path(line["file"]).name for line in lines) == ["0.png", "1.png", "2.png"]
    assert len({line["settings"] for line in lines}) == 1
    first = files()
    for seed in range(3):
        assert first[f"{seed}.gic"][0] == encoded(picture(70, 90, seed), n=0.0)
    again = records(sound(batch(source, "-d", out, "--n", "0")).out)
    assert [record["skipped"] for record in again] == [True] * 3
    assert files() == first
    assert records(log.read_bytes()) == lines, "nothing was done"
    for words in (("--n", "1"), ("--n", "0", "--model", OTHER), ("--n", "0", "--entropy", "huffman")):
        kept = log.read_bytes()
        other = batch(source, "-d", out, *words)
        assert other.code == 1
        assert [(r["exit_code"], "other settings" in r["error"]) for r in records(other.out)] == [(6, True)] * 3
        assert files() == first
        log.write_bytes(kept)
    sound(batch(source, "-d", out, "--n", "1", "-f"))
    assert all(files()[name][0] != first[name][0] for name in first)
    sound(batch(out, "-d", back, "--decode"))
    for seed in range(3):
        assert off(pixels(back / f"{seed}.png"), decode_bytes(files()[f"{seed}.gic"][0]).rgb) == 0


def test_pillow(tmp_path: Path) -> None:
    pillow_plugin.register()
    path, rgb = tmp_path / "photo.gic", picture(HEIGHT, WIDTH)
    Image.fromarray(rgb).save(path, n=-0.5, model=TOY)
    assert path.read_bytes() == encoded(rgb, n=-0.5)
    image = Image.open(path)
    assert (image.format, image.size, image.mode) == ("GIC", (WIDTH, HEIGHT), "RGB")
    assert image.info["gancodec"] == {"model": TOY_TINY.id, "n": -0.5, "synthetic_detail": False}
    image.load()
    assert "comment" not in image.info
    np.testing.assert_array_equal(np.asarray(image), decode_bytes(path.read_bytes()).rgb)
    with Image.open(path) as small:
        small.thumbnail((75, 50), reducing_gap=1)
        assert small.size == (75, 50)
        quarter = decode_bytes(path.read_bytes(), DecodeOptions(reduce=4)).rgb
        np.testing.assert_array_equal(np.asarray(small), quarter)
    again = io.BytesIO()
    image.save(again, "GIC", bpp=0.15, entropy="huffman")
    header = container.read(again.getvalue()).header
    assert (header.codec, header.coder) == (CODEC_TOY, spec.CODER_HUFFMAN)
    assert 0.99 * 0.15 <= 8 * len(again.getvalue()) / (HEIGHT * WIDTH) <= 0.15
    with pytest.raises(OSError, match="checksum differs"):
        Image.open(io.BytesIO(changed(path.read_bytes(), path.stat().st_size // 2, 1))).load()


# --- training and the curve


def test_training_resumes_and_exports(data: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five steps in one go, and three and two, end with the same checkpoint, whose weights encode."""
    words = ("train", TOY, "--data", data, "--steps", "5")
    sound(run(*words, "--out", tmp_path / "whole", "--validate-every", "5"))
    train(Job(TOY, data, tmp_path / "broken", steps=5, stop_at=3))
    halfway = load_file(tmp_path / "broken" / LAST)
    sound(run(*words, "--out", tmp_path / "broken", "--resume"))
    unbroken, resumed = (load_file(tmp_path / name / LAST) for name in ("whole", "broken"))
    assert unbroken.keys() == resumed.keys()
    assert [k for k in unbroken if not torch.equal(unbroken[k], resumed[k])] == []
    trained = [k for k in unbroken if k.startswith("net.") and not torch.equal(unbroken[k], halfway[k])]
    assert len(trained) == len([k for k in unbroken if k.startswith("net.")]), "every parameter moves"
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [line["validation_n"] for line in log] == [2.0, 0.0, -2.0]
    assert log[0]["bpp"] < log[-1]["bpp"]
    place = tmp_path / "weights"
    export = ("train", "export", TOY, tmp_path / "whole" / LAST, "--data", data, "--weights", place)
    sound(run(*export, "--description", "five steps", "--pictures", "4"))
    monkeypatch.setenv(weights.ENVIRONMENT, str(place))
    assert weights.find(None).description == "five steps"
    measured = json.loads((place / "manifest.json").read_text())["models"][TOY]["held_out"]
    for line in log:  # of the same networks, whatever the tables
        assert line["psnr"] == pytest.approx(measured[f"n={line['validation_n']:g}"]["psnr"], abs=1e-4)
    assert weights.find(None).sha256 != toy_weights().info.sha256
    coded, back = tmp_path / "new.gic", tmp_path / "new.png"
    Image.fromarray(picture(100, 130, 77)).save(tmp_path / "new-in.png")
    sound(run("encode", tmp_path / "new-in.png", "-o", coded, "--n", "0"))
    sound(run("decode", coded, "-o", back))
    model = {k: v for k, v in weights.get(TOY).network.items() if k == "generator.classes"}
    np.testing.assert_allclose(model["generator.classes"], unbroken["ema.model.generator.classes"], atol=2e-3)
    assert pixels(back).shape == (100, 130, 3)


def test_tune_curve(folder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    place, source = tmp_path / "weights", tmp_path / "in"
    shutil.copytree(folder, place)
    monkeypatch.setenv(weights.ENVIRONMENT, str(place))
    source.mkdir()
    for seed in range(2):
        Image.fromarray(picture(96, 128, seed)).save(source / f"{seed}.png")
    asked = ("tune-curve", source, "--n", "-2,0,2", "--out", tmp_path / "curve", "--store", "--json")
    (record,) = records(sound(run(*asked)).out)
    assert (record["model"], record["pictures"]) == (TOY, 2)
    assert [point["n"] for point in record["points"]] == [2, 0, -2]
    rates = [point["bpp"] for point in record["points"]]
    assert rates == sorted(rates)
    files = [encoded(picture(96, 128, seed), n=2.0) for seed in range(2)]
    assert rates[0] == pytest.approx(8 * np.mean([len(file) for file in files]) / (96 * 128))
    assert {p.name for p in (tmp_path / "curve").iterdir()} == {f"tune-curve.{kind}" for kind in ("json", "svg", "png")}
    assert record["calibration"].items() <= weights.find(TOY).calibration.items()
    assert weights.find(TOY).calibration != toy_weights().info.calibration
    assert weights.find(OTHER).calibration == tiny_weights().info.calibration
    drafts = [codec().prepare(picture(96, 128, seed), UNGUIDED, EncodeOptions()) for seed in range(2)]
    for n in (-2, 0, 2):  # the search for what both have on average starts there
        sizes = [len(draft.at(n).streams[0][0]) for draft in drafts]
        assert drafts[0].start(round(np.sqrt(np.prod(sizes)))).guess == pytest.approx(n, abs=0.3)


def test_eval(tmp_path: Path, run: Run) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    Image.fromarray(picture(96, 128)).save(source / "0.png")
    asked = ("--codecs", f"{TOY},{OTHER}", "--bpp", "0.2", "--jobs", "1", "--no-speed")
    sound(run("eval", source, "--out", out, *asked))
    with (out / "results.csv").open(encoding="utf-8", newline="") as lines:
        rows = {row["codec"]: row for row in csv.DictReader(lines)}
    assert set(rows) == {TOY, OTHER}
    assert 0.99 * 0.2 <= float(rows[TOY]["bpp"]) <= 0.2
    made = decode_bytes(encoded(picture(96, 128), size=math.floor(0.2 * 96 * 128 / 8))).rgb
    assert float(rows[TOY]["psnr"]) == pytest.approx(psnr(made, picture(96, 128)), abs=0.01)


# --- beside another codec


def test_files_of_another_codec_are_decoded_beside_it(photo: Path, tmp_path: Path, run: Run) -> None:
    mine, other = tmp_path / "toy.gic", tmp_path / "other.gic"
    for path, model in ((mine, TOY), (other, OTHER)):
        sound(run("encode", photo, "-o", path, "--model", model, "--n", "1"))
    told = records(sound(run("info", mine, other, "--json")).out)
    assert [(record["codec"], record["model_name"]) for record in told] == [("toy", TOY), ("gic1", OTHER)]
    sound(run("verify", mine, other))
    sound(run("decode", mine, other, "-d", tmp_path / "out"))
    made = [pixels(tmp_path / "out" / f"{name}.png") for name in ("toy", "other")]
    for rgb, path in zip(made, (mine, other), strict=True):
        assert off(rgb, decode_bytes(path.read_bytes()).rgb) == 0
    assert off(*made) > 10
    ran = run("decode", mine, "--model", OTHER, "-o", tmp_path / "wrong.png")
    assert (ran.code, len(ran.err.splitlines())) == (4, 1)
    parsed: Container = container.read(other.read_bytes())
    lie = container.write(replace(parsed, header=replace(parsed.header, codec=CODEC_TOY, level_shift=0)))
    with pytest.raises(CorruptFile, match=f"codec {CODEC_TOY} is not that of model {OTHER}"):
        decode_bytes(lie)
