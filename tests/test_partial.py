"""Files that are cut: what is whole of them is decoded where it is asked for, and nothing else is forgiven.

The codec of `tests/sliced.py` stands in for the one of the format that has slices.
"""

from __future__ import annotations

import io
import itertools
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image, ImageFile, UnidentifiedImageError

import gancodec
from gancodec import container, pillow_plugin
from gancodec.codec import api, rate
from gancodec.codec.info import info
from gancodec.container import Container, Cut, Header, spec
from gancodec.errors import CorruptFile, GicError, UnsupportedFile, UsageError
from gancodec.models import registry
from gancodec.models.guidance import UNGUIDED
from gancodec.options import DecodeOptions, EncodeOptions
from gancodec.types import Picture
from tests.conftest import Run, make_gic
from tests.sliced import ENTRY, LIGHT, Sliced
from tests.test_container import ALPHA, ICC, IMAGE, MORE, NEWS, SLICED, XMP, chunk, head, same, tiled

EXIF = b"MM\0*\0\0\0\x08" + bytes(6)
WHOLE = Container(SLICED, b"first", bytes(1200), b"icc", EXIF, b"<x/>", more=(b"second", b"", b"fourth"))
TILES = Container.of(tiled(256, 2, 2), ((b"a" * 200, b"b" * 7), (b"", b"c"), (b"d", b""), (b"ef", b"gh")), 256)
HINT = "`decode --partial` decodes the slices that are whole"


@pytest.fixture
def sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `Sliced` be the codec of slices."""
    monkeypatch.setitem(registry.CODECS, SLICED.codec, ENTRY)


def ends(data: bytes) -> list[int]:
    """Where chunks end."""
    offsets = [info.offset for info in container.read(data).chunks]
    return [*offsets[1:], len(data)]


# --- the container


@pytest.mark.parametrize("source", [WHOLE, TILES, replace(WHOLE, icc=None, alpha=None, exif=None, more=())])
def test_every_cut(source: Container) -> None:
    """Without the switch it is refused, and with it what is whole is there, from a whole first slice on."""
    data = container.write(source)
    whole, places = container.read(data), ends(data)
    assert container.read(data, partial=True) == whole
    image = next(end for end, info in zip(places, whole.chunks, strict=True) if info.type == spec.IMAGE)
    start = container.read_header(data)
    for length in range(len(data)):
        part = data[:length]
        with pytest.raises(CorruptFile) as refused:
            container.read(part)
        if length < image:
            words = "the first slice is not whole" if length >= start[1] else "cut short|not a .gic"
            with pytest.raises(CorruptFile, match=words):
                container.read(part, partial=True)
            continue
        assert HINT in str(refused.value)
        parsed = container.read(part, start=start, partial=True)
        assert parsed == container.read(part, partial=True)
        count = sum(end <= length for end in places)
        assert parsed.chunks == whole.chunks[:count]
        names = {info.name for info in parsed.chunks}
        kept = {
            name: getattr(source, name) if name.upper() in names else None for name in ("alpha", "icc", "exif", "xmp")
        }
        more = whole.more[: sum(info.name == "MORE" for info in parsed.chunks)]
        assert same(parsed, replace(whole, **kept, more=more, cut=parsed.cut))
        assert [len(slices) for slices in parsed.streams] == [1 + len(more)] * len(whole.streams)
        cut = whole.chunks[count]
        told, size = length - cut.offset, 2 if cut.length < 128 else 3
        assert parsed.cut == Cut(cut.type if told else None, cut.length if told >= size else None)


@pytest.mark.parametrize("source", [WHOLE, TILES])
def test_every_changed_byte_is_noticed(source: Container) -> None:
    """Without the switch always; with it but for lengths that reach beyond the end, which look like a cut there: the
    slices before are as they were, and the codec, which knows the lengths of its slices, sees that they differ."""
    data = container.write(source)
    whole = container.read(data)
    starts = {info.offset + i for info in whole.chunks for i in range(3)}
    taken = set()
    for position, mask in itertools.product(range(len(data)), range(1, 256)):
        if position not in starts and mask.bit_count() > 1:
            continue
        changed = data[:position] + bytes((data[position] ^ mask,)) + data[position + 1 :]
        with pytest.raises((CorruptFile, UnsupportedFile)):
            container.read(changed)
        try:
            parsed = container.read(changed, partial=True)
        except (CorruptFile, UnsupportedFile):
            continue
        count = len(parsed.chunks)
        hurt = whole.chunks[count]
        assert parsed.chunks == whole.chunks[:count]
        assert parsed.cut is not None
        assert parsed.cut.type == hurt.type
        assert parsed.cut.length != hurt.length
        assert hurt.offset < position <= hurt.offset + (1 if hurt.length < 128 else 2)
        taken.add(hurt.name)
    assert taken == {info.name for info in whole.chunks} - {"TILES", "ICC", "IMAGE", "END"}


def test_every_changed_byte_of_a_cut_file_is_noticed() -> None:
    """Again but for the length of the last chunk, within its limit."""
    data = container.write(WHOLE)
    for length in range(ends(data)[1], len(data), 5):
        sound = container.read(data[:length], partial=True)
        last = sound.chunks[-1]
        behind = last.offset + container.chunk_size(last.length)
        for position, mask in itertools.product(range(length), (0x01, 0x10, 0x80, 0xFF)):
            changed = bytearray(data[:length])
            changed[position] ^= mask
            try:
                parsed = container.read(bytes(changed), partial=True)
            except (CorruptFile, UnsupportedFile):
                continue
            if position < behind:  # a length that now reaches beyond the end, of a chunk that was whole
                assert len(parsed.chunks) < len(sound.chunks)
                assert parsed.chunks == sound.chunks[: len(parsed.chunks)]
            else:  # what is not whole is not used
                assert same(parsed, replace(sound, cut=parsed.cut))


def wrong(body: bytes) -> bytes:
    """The chunk with another checksum."""
    return body[:-1] + bytes((body[-1] ^ 1,))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (IMAGE + wrong(MORE), "MORE: checksum"),
        (wrong(ICC) + IMAGE, "ICC: checksum"),
        (IMAGE + MORE + wrong(ALPHA), "ALPHA: checksum"),
        (IMAGE + MORE + wrong(NEWS), "chunk 0xfa: checksum"),
        (IMAGE + ALPHA + ALPHA, "ALPHA: second one"),
        (IMAGE + ALPHA + ALPHA[:-1], "ALPHA: second one"),
        (IMAGE + ALPHA + MORE[:-1], "MORE: not directly behind IMAGE"),
        (IMAGE + MORE * 8, "MORE: more slices"),
        (IMAGE + MORE * 7 + MORE[:-1], "MORE: more slices"),
        (IMAGE + ICC, "ICC behind IMAGE"),
        (IMAGE + ICC[:-1], "ICC behind IMAGE"),
        (IMAGE + MORE + ICC[:2], "ICC behind IMAGE"),
        (IMAGE + XMP + chunk(spec.END, b"") + b"x", "1 bytes after the end"),
        (IMAGE + bytes((spec.END, 1)), "END: 1 bytes, cap 0"),
        (IMAGE + b"\x85\xff\xff\xff\xff\x0f", "XMP: 4294967295 bytes, cap"),
        (IMAGE + b"\x02\x80\x80\x01", "ALPHA: 16384 bytes, cap"),
        (IMAGE + b"\xfa\xff\xff\xff\xff\x0f", "more than may be"),
        (IMAGE + NEWS * 64 + NEWS[:-1], "65 unknown chunks"),
        (IMAGE + b"\x04\x80\x00", "shortest"),
        (IMAGE + b"\x04" + b"\xff" * 5, "number too long"),
        (IMAGE + chunk(spec.XMP, b""), "cut short: 1 bytes wanted at 0"),
        (IMAGE + chunk(spec.ALPHA, b"\x01x"), "ALPHA: inflates to 1 bytes"),
        (IMAGE[:-1], "the first slice is not whole"),
        (b"", "the first slice is not whole"),
    ],
)
def test_what_no_cut_explains_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(CorruptFile, match=reason):
        container.read(head(SLICED) + body, partial=True)


@pytest.mark.parametrize("unknown", [chunk(0x7A, b"news"), chunk(0x7A, b"news")[:-1], chunk(0x7A, b"news")[:1]])
def test_unknown_critical_chunks_are_refused_whole_or_not(unknown: bytes) -> None:
    with pytest.raises(UnsupportedFile, match="0x7a is critical and unknown"):
        container.read(head(SLICED) + IMAGE + MORE + unknown, partial=True)


@pytest.mark.parametrize("codec", [*(c for c in spec.CODECS if spec.CODECS[c].slices == 1), 9])
def test_files_without_slices_are_whole_or_refused(codec: int) -> None:
    """They may be asked for in part here: nothing comes of it."""
    zero = codec == spec.CODEC_SPLIT
    header = replace(SLICED, codec=codec, coder=2 * zero, level_shift=0)
    if zero:
        header = Header(40, 30, 0, bytes(8), codec, spec.CODER_WEBP, 0, 0, 0)
    data = head(header) + IMAGE + XMP + chunk(spec.END, b"")
    assert container.read(data, partial=True) == container.read(data)
    for length in range(len(data)):
        with pytest.raises(CorruptFile) as refused:
            container.read(data[:length], partial=True)
        assert "--partial" not in str(refused.value)


# --- Python


def test_sizes_of_slices_are_exact(sliced: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a search is told is what the file has, whatever the slices, tiles and metadata."""
    found: list[rate.Found] = []
    search = rate.search
    monkeypatch.setattr(rate, "search", lambda *words: found.append(search(*words)) or found[-1])
    rng = np.random.default_rng(3)
    for size, target in itertools.product([(30, 40), (257, 40), (300, 520)], range(150, 3000, 600)):
        alpha = rng.integers(0, 2, size, np.uint8)
        picture = Picture(np.zeros((*size, 3), np.uint8), alpha, b"icc", b"Exif\0\0MM", b"<x/>")
        coded = api.encode_with(Sliced(), picture, EncodeOptions(size=target), UNGUIDED)
        assert found[-1].size == len(coded.data)
        assert not coded.hit or len(coded.data) <= target
    assert len({outcome.size for outcome in found}) > 10


def test_a_cut_file_is_decoded_and_told(sliced: None) -> None:
    data = container.write(WHOLE)
    whole = api.decode_bytes(data, DecodeOptions(partial=True))
    assert whole.notices == ()
    assert whole.rgb.max() == 4 * LIGHT
    image, *more, alpha, exif, xmp, _ = ends(data)[1:]
    for length, slices, lost in (
        (image, 1, ["transparency", "EXIF", "XMP"]),
        (more[0], 2, ["transparency", "EXIF", "XMP"]),
        (more[1] + 3, 3, ["transparency", "EXIF", "XMP"]),
        (alpha - 1, 4, ["transparency", "EXIF", "XMP"]),
        (alpha, 4, ["EXIF", "XMP"]),
        (exif, 4, ["XMP"]),
        (xmp, 4, []),
    ):
        part = api.decode_bytes(data[:length], DecodeOptions(partial=True))
        told = f"; what may have come after them ({', '.join(lost)}) is lost" if lost else ""
        assert part.notices == (f"cut short: {slices} of 4 slices decoded{told}",)
        assert (part.rgb == LIGHT * slices).all()
        assert (part.alpha is None, part.exif is None, part.xmp is None) == tuple(
            word in lost for word in ("transparency", "EXIF", "XMP")
        )
        assert part.icc == b"icc"
        view = api.decode_bytes(data[:length], DecodeOptions(partial=True, region=(3, 3, 20, 10), reduce=2))
        assert view.rgb.shape == (6, 11, 3)
        assert view.notices == part.notices


def test_decode_warns_where_it_is_called(sliced: None, tmp_path: Path) -> None:
    data = container.write(WHOLE)
    path = tmp_path / "cut.gic"
    path.write_bytes(data[:-3])
    for make in (lambda: data[:-3], lambda: path, lambda: io.BytesIO(data[:-3])):
        with pytest.warns(UserWarning, match="^cut short: 4 of 4 slices decoded$") as told:
            image = gancodec.decode(make(), partial=True)
        assert [w.filename for w in told] == [__file__]
        assert image.mode == "RGBA"
        with pytest.warns(UserWarning, match="cut short"):
            gancodec.decode(make(), DecodeOptions(partial=True))
        with pytest.raises(CorruptFile, match=HINT):
            gancodec.decode(make())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gancodec.decode(data, partial=True).tobytes() == gancodec.decode(data).tobytes()
    for value in ("yes", 1, None):
        with pytest.raises(UsageError, match="partial = .*: must be True or False"):
            gancodec.decode(data, DecodeOptions(partial=value))  # type: ignore[arg-type]


@pytest.mark.parametrize("look", [info, api.verify_bytes, api.read_symbols, api.read_allocation, api.decode_bytes])
def test_everything_else_refuses_cut_files(look: Callable[[bytes], Any], sliced: None) -> None:
    with pytest.raises(CorruptFile, match=HINT):
        look(container.write(WHOLE)[:-3])


@pytest.mark.parametrize("length", [None, -1, -8])
def test_codecs_without_slices_have_no_parts(length: int | None) -> None:
    """Told of whole files too: it does not depend on the file."""
    told = "partial: the gic1 codec has no slices"
    for decode in (
        lambda data: gancodec.decode(data, partial=True),
        lambda data: gancodec.decode(io.BytesIO(data), DecodeOptions(partial=True)),
        lambda data: api.decode_bytes(data, DecodeOptions(partial=True)),
    ):
        with pytest.raises(UsageError, match=told) as refused:
            decode(make_gic()[:length])
        assert "\n" not in str(refused.value)


def test_codecs_that_are_not_known_are_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(registry.CODECS, SLICED.codec, raising=False)
    for codec in (SLICED.codec, 99):
        data = head(replace(SLICED, codec=codec)) + IMAGE + chunk(spec.END, b"")
        for options in (DecodeOptions(), DecodeOptions(partial=True)):
            with pytest.raises(UnsupportedFile, match=f"codec {codec} is not known"):
                api.decode_bytes(data, options)


# --- the command line


def cut_file(folder: Path, name: str = "cut.gic", left_off: int = 3) -> Path:
    path = folder / name
    path.write_bytes(container.write(WHOLE)[:-left_off])
    return path


def test_command(run: Run, tmp_path: Path, sliced: None) -> None:
    data = container.write(WHOLE)
    path = cut_file(tmp_path, left_off=len(data) - ends(data)[5])
    told = "cut short: 4 of 4 slices decoded; what may have come after them (EXIF, XMP) is lost"
    ran = run("decode", path, "--partial", "--json", "--manifest", tmp_path / "log")
    assert (ran.code, ran.err.splitlines()[0]) == (0, f"gancodec: {path}: warning: {told}")
    assert ran.err.count("warning") == 1
    for record in (json.loads(ran.out), json.loads((tmp_path / "log").read_text())):
        assert record["warnings"] == [told]
    with Image.open(path.with_suffix(".png")) as image:
        assert (image.mode, image.getpixel((0, 0))) == ("RGBA", (160, 160, 160, 0))
    ran = run("decode", path, "--partial", "-f", "--region", "0,0,9,9", "--scale", "1/2")
    assert (ran.code, ran.err.count(told)) == (0, 1)
    with Image.open(path.with_suffix(".png")) as image:
        assert image.size == (5, 5)
    assert run("decode", "-", "--partial", "-o", "-", stdin=path.read_bytes()).code == 0


@pytest.mark.parametrize("command", ["decode", "info", "verify", "inspect"])
def test_commands_refuse_cut_files_and_hint(command: str, run: Run, tmp_path: Path, sliced: None) -> None:
    path = cut_file(tmp_path)
    ran = run(command, path)
    assert ran.code == 3
    assert ran.err.count("\n") == 1
    assert ran.err.startswith(f"gancodec: {path}: cut short: ")
    assert HINT in ran.err
    assert list(tmp_path.iterdir()) == [path]


def test_batch(run: Run, tmp_path: Path, sliced: None) -> None:
    """What is said of each input is in the manifest; a run with the switch goes on where one without has stopped."""
    folder = tmp_path / "in"
    folder.mkdir()
    cut_file(folder)
    (folder / "whole.gic").write_bytes(container.write(WHOLE))
    (folder / "other.gic").write_bytes(make_gic())
    words = ("batch", folder, "-d", tmp_path / "out", "--decode", "-j", "1")
    assert run(*words).code == 1
    ran = run(*words, "--partial")
    assert ran.code == 1
    assert ran.err.count("cut.gic: warning: cut short: 4 of 4 slices decoded") == 1
    assert "other.gic: partial: the gic1 codec has no slices" in ran.err
    records = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    last = {Path(record["file"]).name: record for record in records}
    assert last["cut.gic"]["warnings"] == ["cut short: 4 of 4 slices decoded"]
    assert last["whole.gic"]["warnings"] == []
    assert last["other.gic"]["exit_code"] == 2
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["cut.png", "whole.png"]
    ran = run("batch", folder, "-d", tmp_path / "coded", "--partial")
    assert (ran.code, ran.err) == (2, "gancodec: --partial is for --decode\n")


def test_command_of_files_without_slices(run: Run, coded: Path) -> None:
    for data in (coded.read_bytes(), coded.read_bytes()[:-1]):
        coded.write_bytes(data)
        ran = run("decode", coded, "--partial")
        told = "partial: the gic1 codec has no slices, so its files are decoded whole or not at all"
        assert (ran.code, ran.err) == (2, f"gancodec: {coded}: {told}\n")
        assert not coded.with_suffix(".png").exists()


# --- Pillow


@pytest.fixture
def truncated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's switch is on."""
    pillow_plugin.register()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)


def test_pillow_opens_every_cut(sliced: None, truncated: None) -> None:
    data = container.write(WHOLE)
    image, alpha = ends(data)[1], ends(data)[5]
    assert [i.name for i in container.read(data).chunks][:6] == ["ICC", "IMAGE", *["MORE"] * 3, "ALPHA"]
    for length in range(len(data)):
        file = io.BytesIO(data[:length])
        if length < image:
            with pytest.raises(UnidentifiedImageError):
                Image.open(file)
            continue
        opened = Image.open(file)
        parsed = container.read(data[:length], partial=True)
        assert opened.mode == ("RGB" if length < alpha else "RGBA")
        kept = (opened.info.get("icc_profile"), opened.info.get("exif"), opened.info.get("xmp"))
        assert kept == (parsed.icc, parsed.exif, parsed.xmp)
        with pytest.warns(UserWarning, match="^cut short: . of 4 slices decoded") as told:
            opened.load()
        assert [w.filename for w in told] == [__file__]
        assert opened.getpixel((0, 0))[0] == LIGHT * len(parsed.streams[0])
        opened.load()
        with pytest.raises(OSError, match="cut short"):
            Image.open(io.BytesIO(data[:length])).verify()


def test_pillow_without_its_switch_or_without_a_cut(
    sliced: None, truncated: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = container.write(WHOLE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        on = Image.open(io.BytesIO(data))
        on.load()
    cut = Image.open(io.BytesIO(data[:-1]))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    off = Image.open(io.BytesIO(data))
    assert (off.mode, off.tobytes()) == (on.mode, on.tobytes())
    with pytest.raises(OSError, match="cut short"):
        cut.load()
    for length in range(8, len(data), 9):
        with pytest.raises(UnidentifiedImageError, match="cut short"):
            Image.open(io.BytesIO(data[:length]))


def test_pillow_finds_the_damage_of_cut_files(sliced: None, truncated: None) -> None:
    data = container.write(WHOLE)
    for length, position in itertools.product(range(ends(data)[1], len(data), 40), range(0, len(data), 3)):
        if position >= length:
            continue
        changed = bytearray(data[:length])
        changed[position] ^= 0x15
        told: list[warnings.WarningMessage] = []
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                Image.open(io.BytesIO(changed)).load()
        except OSError:
            continue
        assert [str(w.message)[:9] for w in told] == ["cut short"]
        assert container.read(bytes(changed), partial=True).cut is not None


def test_pillow_ends_other_codecs_as_ever(truncated: None) -> None:
    data = make_gic()
    for length in range(8, len(data)):
        with pytest.raises(OSError, match="cut short"), Image.open(io.BytesIO(data[:length])) as image:
            image.load()


def test_a_model_that_fails_is_told_as_ever(sliced: None, truncated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise GicError("no")

    monkeypatch.setattr(Sliced, "decode", fail)
    with pytest.raises(OSError, match="no"):
        Image.open(io.BytesIO(container.write(WHOLE)[:-1])).load()
