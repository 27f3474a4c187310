"""Cut files of codec 6, from bytes to pixels, with the tiny model that the vectors have: what is whole of them is a
picture, and nothing else is forgiven."""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, UnidentifiedImageError

import gancodec
from gancodec import container, pillow_plugin, weights
from gancodec.codec import api
from gancodec.container import spec
from gancodec.errors import CorruptFile, UnsupportedFile, UsageError
from gancodec.metrics import psnr
from gancodec.options import DecodeOptions, EncodeOptions
from gancodec.types import Picture
from tests.conftest import Run
from tests.fuzz.build import chunk
from tests.fuzz.pictures import EXIF, XMP, profile
from tests.tiny import picture
from tools import make_vectors

VECTORS = Path(__file__).parent / "vectors"
GIC2 = VECTORS / "v1-gic2-tiny"
CODED = (spec.IMAGE, spec.MORE)
DAMAGE = (CorruptFile, UnsupportedFile)
LOST = ("transparency", "EXIF", "XMP")
FULL = Picture(picture(60, 70), np.eye(60, 70, dtype=np.uint8) * 200, profile(), EXIF, XMP)


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    """The model of the vectors is all that is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(weights.ENVIRONMENT, str(GIC2))
        yield


@cache
def file(name: str) -> bytes:
    """A vector; or `full`, a file in slices with all other chunks; or `tiled`, one of two small tiles."""
    if name not in ("full", "tiled"):
        return (GIC2 / f"{name}.gic").read_bytes()
    codec = make_vectors.SpecialGic2(weights.get(None), "cpu")
    codec.side = 256 if name == "tiled" else None
    source = Picture(picture(9, 260)) if name == "tiled" else FULL
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_vectors.slices, "WHOLE_BELOW", 30)
        return api.encode_with(codec, source, EncodeOptions(n=1.0, entropy="huffman")).data


def ends(data: bytes, kinds: tuple[int, ...] = CODED) -> list[int]:
    """Where the chunks of some types end."""
    chunks = container.read(data).chunks
    return [c.offset + container.chunk_size(c.length) for c in chunks if c.type in kinds]


def decoded(data: bytes) -> tuple[Image.Image, list[str]]:
    """What is whole of a file, and what is told of it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        image = gancodec.decode(data, partial=True)
    assert {w.category for w in told} <= {UserWarning}
    return image, [str(w.message) for w in told]


def refused(call: Callable[[], object]) -> str:
    """The one line that damage is refused with."""
    with pytest.raises(DAMAGE) as told:
        call()
    assert str(told.value).isprintable()
    return str(told.value)


@pytest.mark.parametrize("name", ["photo", "tiled", "full"])
def test_every_cut(name: str) -> None:
    """A picture of the slices that are whole, from a whole first one on, or one line; nothing else whatever comes."""
    data = file(name)
    places, chunks = ends(data), container.read(data).chunks
    pictures: dict[int, bytes] = {}
    for length in range(len(data)):
        part = data[:length]
        refused(lambda part=part: gancodec.decode(part))
        count = sum(end <= length for end in places)
        if count == 0:
            refused(lambda part=part: gancodec.decode(part, partial=True))
            continue
        image, told = decoded(part)
        here = {c.name for c in chunks if c.offset + container.chunk_size(c.length) <= length}
        lost = [word for word, name in zip(LOST, ("ALPHA", "EXIF", "XMP"), strict=True) if name not in here]
        words = f"; what may have come after them ({', '.join(lost)}) is lost" if lost else ""
        assert told == [f"cut short: {count} of {len(places)} slices decoded{words}"]
        assert image.mode == ("RGBA" if "ALPHA" in here else "RGB")
        kept = {"icc_profile": "ICC", "exif": "EXIF", "xmp": "XMP"}
        assert {key for key in kept if key in image.info} == {key for key, chunk in kept.items() if chunk in here}
        assert pictures.setdefault(count, image.convert("RGB").tobytes()) == image.convert("RGB").tobytes()
    assert len(set(pictures.values())) == len(places)
    whole, told = decoded(data)
    assert told == []
    assert pictures[len(places)] == whole.convert("RGB").tobytes() == gancodec.decode(data).convert("RGB").tobytes()


@pytest.mark.parametrize("name", ["photo", "photo-huffman", "low", "region", "tiles", "tiles-huffman"])
def test_more_slices_are_a_better_picture(name: str) -> None:
    data, wanted = file(name), make_vectors.SLICED_CASES[name].picture().rgb
    figures = [psnr(np.asarray(decoded(data[:end])[0]), wanted) for end in ends(data)]
    assert all(later > earlier - 0.05 for earlier, later in itertools.pairwise(figures)), figures
    assert figures[-1] > figures[0] + 1.5


def test_missing_symbols_are_zero() -> None:
    """The picture of a cut file is that of its symbols, the others being 0."""
    data = file("tiles-huffman")
    codec = api.codec_of(weights.get(None), "cpu")
    whole = codec.symbols(container.read(data))
    for number, end in enumerate(ends(data), 1):
        symbols = codec.symbols(container.read(data[:end], partial=True))
        np.testing.assert_array_equal(symbols.levels, whole.levels)
        np.testing.assert_array_equal(symbols.hyper, whole.hyper)
        missing = symbols.latents != whole.latents
        assert (symbols.latents[missing] == 0).all()
        assert missing.any() == (number < len(ends(data)))


# --- damage


def changes(data: bytes, step: int = 1) -> Iterator[bytes]:
    """Every byte changed: in several ways, and in all, or each `step`, where a chunk states its type and length."""
    told = {c.offset + i for c in container.read(data, partial=True).chunks for i in range(3)}
    for place in range(len(data)):
        for mask in range(1, 256, step) if place in told else (1, 0x20, 0xFF):
            yield data[:place] + bytes((data[place] ^ mask,)) + data[place + 1 :]


@pytest.mark.parametrize("name", ["photo", "tiled"])
def test_every_changed_byte_is_refused(name: str) -> None:
    """Also of a file that may be cut: a length that reaches beyond the end is no cut, for the first slice tells it."""
    for changed in changes(file(name)):
        refused(lambda changed=changed: gancodec.decode(changed))
        refused(lambda changed=changed: gancodec.decode(changed, partial=True))
        refused(lambda changed=changed: api.verify_bytes(changed))


def test_every_changed_byte_behind_the_slices_is_refused_or_a_cut() -> None:
    """Nothing tells lengths of what comes behind: where one reaches beyond the end, the slices are all there."""
    data = file("full")
    last, whole, cuts = ends(data)[-1], np.asarray(gancodec.decode(data))[..., :3], set()
    for changed in changes(data, 5):
        refused(lambda changed=changed: api.verify_bytes(changed))
        try:
            image, told = decoded(changed)
        except DAMAGE:
            continue
        place = next(i for i, (a, b) in enumerate(zip(changed, data, strict=True)) if a != b)
        hurt = next(c for c in reversed(container.read(data).chunks) if c.offset <= place)
        assert place >= last
        cuts.add(hurt.name)
        assert told[0].startswith("cut short: ")
        np.testing.assert_array_equal(np.asarray(image)[..., :3], whole)
    assert {"EXIF", "XMP"} <= cuts <= {"ALPHA", "EXIF", "XMP"}


@pytest.mark.parametrize("name", ["cut", "cut-tiles"])
def test_every_changed_byte_of_a_cut_file_is_refused_or_not_used(name: str) -> None:
    """What may be anything is the data of the chunk that is not whole; its type and length may not."""
    data = file(name)
    sound, cut = decoded(data), container.read(data, partial=True).cut
    assert cut is not None
    assert cut.length is not None
    last = container.read(data, partial=True).chunks[-1]
    begin = last.offset + container.chunk_size(last.length)
    free = begin + 1 + len(container.header.varint(cut.length))
    for place, mask in itertools.product(range(len(data)), range(1, 256, 2)):
        changed = data[:place] + bytes((data[place] ^ mask,)) + data[place + 1 :]
        if place < free:
            refused(lambda changed=changed: gancodec.decode(changed, partial=True))
        elif mask == 1:
            again = decoded(changed)
            assert (again[0].tobytes(), again[1]) == (sound[0].tobytes(), sound[1])


@pytest.mark.parametrize("name", ["photo", "tiles-huffman"])
def test_chunks_that_the_first_slice_does_not_announce_are_damage(name: str) -> None:
    """A cut within another chunk than the next slice, or within a slice of another length, cuts nothing away."""
    data = file(name)
    first, second, *_, last = ends(data)
    for begin, kinds in ((first, (spec.XMP, spec.EXIF, 0xFE)), (last, (spec.MORE,))):
        for kind in kinds:
            told = refused(lambda kind=kind, begin=begin: gancodec.decode(data[:begin] + bytes((kind,)), partial=True))
            assert "is not what the first one announces" in told or "more slices" in told
    length = container.read(data).chunks[-2].length
    for wrong in (length - 1, length + 1):
        part = chunk(spec.MORE, bytes(wrong))[:5]
        begin = ends(data)[-2]
        told = refused(lambda part=part, begin=begin: gancodec.decode(data[:begin] + part, partial=True))
        assert "is not what the first one announces" in told
    decoded(data[:second] + data[second : second + 2])
    for body in (data[:first] + data[second:], data[:first] + data[first:second] * 2 + data[second:]):
        told = refused(lambda body=body: gancodec.decode(body, partial=True))
        assert "slice" in told or "cut short" in told


# --- views


def test_views_of_cut_files() -> None:
    """Regions are those of the whole, thumbnails its means, in as many slices."""
    data = file("tiles-huffman")
    for end in ends(data)[:-1]:
        whole, told = decoded(data[:end])
        pixels = np.asarray(whole).astype(np.float64)
        cells = pixels.reshape(6, 4, 130, 4, 3)
        options = DecodeOptions(partial=True, region=(230, 3, 60, 20))
        part = api.decode_bytes(data[:end], options)
        assert list(part.notices) == told
        assert np.abs(part.rgb - pixels[3:23, 230:290]).max() <= 1
        small = api.decode_bytes(data[:end], replace(options, region=None, reduce=4))
        assert list(small.notices) == told
        inside = (cells.min((1, 3)) > 0) & (cells.max((1, 3)) < 255)  # what is clipped before has other means
        assert inside.mean() > 0.5
        assert np.abs(small.rgb - cells.mean((1, 3)))[inside].max() <= 1.5


# --- the command line


def test_commands(run: Run, tmp_path: Path) -> None:
    """A sample of the cuts of each file: exit code 0, one line and a picture, or exit code 3, one line and none."""
    for name, words in (("photo", ()), ("tiles-huffman", ("--region", "250,0,20,9")), ("full", ("--scale", "1/2"))):
        data = file(name)
        image, total = ends(data)[0], len(ends(data))
        lengths = {0, 5, 20, image - 1, image, image + 1, image + 4, *range(image + 9, len(data), 97), len(data) - 1}
        for length in sorted(lengths):
            (tmp_path / "cut.gic").write_bytes(data[:length])
            ran = run("decode", tmp_path / "cut.gic", "--partial", *words)
            lines = [line for line in ran.err.splitlines() if line.startswith("gancodec: ")]
            assert len(lines) == 1
            target = tmp_path / "cut.png"
            if length < image:
                assert ran.code == 3
                assert not target.exists()
                continue
            count = sum(end <= length for end in ends(data))
            assert ran.code == 0
            assert f"warning: cut short: {count} of {total} slices decoded" in lines[0]
            target.unlink()
            assert run("decode", tmp_path / "cut.gic").code == 3
            assert run("verify", tmp_path / "cut.gic").code == 3
        (tmp_path / "cut.gic").write_bytes(data)
        ran = run("decode", tmp_path / "cut.gic", "--partial", "-f", *words)
        assert (ran.code, "gancodec: " in ran.err) == (0, False)
        (tmp_path / "cut.png").unlink()


def test_other_codecs_refuse_by_name(run: Run, tmp_path: Path) -> None:
    for path, name in (("v1/odd", "gic1"), ("v1-wu2019-small/odd", "wu2019"), ("v1-split/odd", "split")):
        data = (VECTORS / f"{path}.gic").read_bytes()
        for content in (data, data[:-3]):
            told = f"partial: the {name} codec has no slices, so its files are decoded whole or not at all"
            with pytest.raises(UsageError, match=told):
                gancodec.decode(content, partial=True)
            (tmp_path / "odd.gic").write_bytes(content)
            ran = run("decode", tmp_path / "odd.gic", "--partial")
            assert (ran.code, ran.err) == (2, f"gancodec: {tmp_path / 'odd.gic'}: {told}\n")


# --- Pillow


def test_pillow_reads_what_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its switch, as `decode` does; without it, cut files are refused."""
    pillow_plugin.register()
    data = file("full")
    image = ends(data)[0]
    for length in range(8, len(data), 11):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
        with pytest.raises(UnidentifiedImageError):
            Image.open(io.BytesIO(data[:length]))
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        if length < image:
            with pytest.raises(UnidentifiedImageError):
                Image.open(io.BytesIO(data[:length]))
            continue
        opened = Image.open(io.BytesIO(data[:length]))
        with pytest.warns(UserWarning, match="^cut short: . of . slices decoded") as told:
            opened.load()
        wanted, words = decoded(data[:length])
        assert [str(w.message) for w in told] == words
        assert (opened.mode, opened.tobytes()) == (wanted.mode, wanted.tobytes())
        assert opened.info.get("icc_profile") == wanted.info.get("icc_profile") == FULL.icc
