"""Inputs that may have no end: pipes, devices and standard input, for pictures, maps, baselines and manifests."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gancodec import sources
from gancodec.errors import UnreadablePicture, UsageError
from gancodec.formats import look
from tests.conftest import FakeCodec, Run, make_gic

SMALL = 1 << 16  # bytes, in place of what a pipe may have beside pixels


class Endless(io.RawIOBase):
    """A beginning, then zeros for ever; counts what is read of it."""

    def __init__(self, start: bytes) -> None:
        self.start, self.taken = start, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "read to an end that never comes"
        part = self.start[self.taken :][:size].ljust(size, b"\0")
        self.taken += size
        return part


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "OTHER_BYTES", SMALL)
    monkeypatch.setattr(sources, "READ_BLOCK", SMALL // 16)


def endless(monkeypatch: pytest.MonkeyPatch, start: bytes) -> Endless:
    """Standard input of this beginning."""
    stream = Endless(start)
    stdin = io.StringIO()
    stdin.buffer = stream  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdin", stdin)
    return stream


def picture(kind: str, width: int = 40, height: int = 30) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize("kind", look.LOOKS)
def test_every_format_is_known_by_its_first_bytes(kind: str, run: Run, fake_codec: FakeCodec, tmp_path: Path) -> None:
    data = picture(kind)
    assert look.format_of(data[: look.HEAD]) == kind
    assert run("encode", "-", "-o", tmp_path / "a.gic", stdin=data).code == 0


@pytest.mark.parametrize("big", ["II", "MM"])
def test_big_tiff_is_known(big: str) -> None:
    order = "little" if big == "II" else "big"
    for version in (42, 43):
        assert look.format_of(big.encode() + version.to_bytes(2, order) + bytes(8)) == "TIFF"  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [b"", b"y\n" * 99, b"\0" * 99, b"GIF90a", b"RIFF\0\0\0\0WAVE", b"%PDF-1.7"])
def test_what_is_no_picture_is_refused_by_its_first_bytes(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = endless(monkeypatch, start)
    with pytest.raises(UnreadablePicture, match="not a picture in a format"):
        sources.open_source("-")
    assert stream.taken == look.HEAD


@pytest.mark.parametrize(
    ("start", "most"),
    [
        (b"\x89PNG\r\n\x1a\n", SMALL),
        (b"\xff\xd8\xff\xe0", SMALL),
        (picture("PNG"), SMALL + 8 * 40 * 30),
        (picture("JPEG"), SMALL + 8 * 40 * 30),
        (picture("GIF"), SMALL + 8 * 10_000),
        (picture("TIFF"), SMALL + 8 * 10_000),
        (make_gic(), SMALL + 8 * 10_000),
        (picture("PNG", 400, 300), SMALL + 8 * 10_000),
    ],
)
def test_a_picture_without_end_is_refused(start: bytes, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = endless(monkeypatch, start)
    with pytest.raises(UnreadablePicture):
        sources.read_source("-", 10_000)
    assert most - sources.READ_BLOCK <= stream.taken <= most + sources.READ_BLOCK


def test_a_large_picture_is_read_to_its_end(run: Run, fake_codec: FakeCodec, tmp_path: Path) -> None:
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)).save(noise, "PNG")
    assert len(noise.getvalue()) > 1.5 * SMALL
    for kind in (noise.getvalue(), picture("TIFF", 200, 200)):
        assert run("encode", "-", "-o", tmp_path / "a.gic", "-f", stdin=kind).code == 0


def test_larger_pictures_than_pillow_allows_are_left_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    stream = endless(monkeypatch, picture("PNG"))
    with pytest.raises(UnreadablePicture, match=f"longer than {SMALL + 80_000} bytes"):
        sources.read_source("-", 10_000)
    assert stream.taken > SMALL


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero here")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("encode /dev/zero -o a.gic", 3),
        ("encode photo.png -o a.gic --roi /dev/zero", 3),
        ("encode photo.png -o a.gic --saliency file:/dev/zero", 3),
        ("encode photo.png -o a.gic --manifest /dev/zero", 2),
        ("batch photo.png -d out --manifest /dev/zero", 2),
        ("decode /dev/zero -o a.png", 3),
        ("info /dev/zero", 3),
        ("inspect /dev/zero --out out", 3),
        ("saliency /dev/zero -o a.png", 3),
        ("sizes check /dev/zero photo.png", 3),
        ("sizes update /dev/zero photo.png", 2),
        ("eval /dev/zero --out out --codecs jpeg --no-speed", 3),
        ("tune-curve /dev/zero", 3),
    ],
)
def test_devices_without_end(run: Run, photo: Path, words: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photo.parent)
    ran = run(*words.split())
    if ran.code == 4:
        pytest.skip("an optional package or the weights are missing")
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, b"", 1), ran.err
    assert [path.name for path in photo.parent.iterdir() if not path.is_dir()] == ["photo.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("words", ["encode photo.png -o a.gic --roi pipe", "tune-curve pipe", "encode pipe -o a.gic"])
def test_named_pipes_without_end(run: Run, photo: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photo.parent)
    os.mkfifo("pipe")

    def pour() -> None:
        pipe = os.open("pipe", os.O_WRONLY)
        with contextlib.suppress(BrokenPipeError):
            while True:
                os.write(pipe, b"y\n" * 1000)
        os.close(pipe)

    writer = threading.Thread(target=pour)
    writer.start()
    ran = run(*words.split())
    writer.join(10)
    assert (ran.code, ran.err.count("\n")) == (3, 1), ran.err
    assert "not a picture in a format" in ran.err


def test_maps_come_through_pipes(run: Run, photo: Path) -> None:
    from gancodec.codec.guidance import read_map

    ours, theirs = os.pipe()
    with open(theirs, "wb") as pipe:
        pipe.write(photo.read_bytes())
    found = read_map(f"/dev/fd/{ours}", (30, 40), 10_000)
    os.close(ours)
    assert np.array_equal(found, read_map(str(photo), (30, 40), 10_000))


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero here")
def test_published_curves_have_an_end() -> None:
    from gancodec.evaluate.report.anchors import read_anchors

    with pytest.raises(UsageError, match=f"/dev/zero: not a file of curves: longer than {SMALL} bytes"):
        read_anchors(Path("/dev/zero"))


def test_a_baseline_has_an_end(run: Run, tmp_path: Path) -> None:
    baseline = tmp_path / "base.json"
    baseline.write_text(json.dumps({"format": "x" * SMALL}))
    ran = run("sizes", "check", baseline)
    assert (ran.code, ran.err) == (3, f"gancodec: {baseline}: longer than {SMALL} bytes, the most that is read here\n")
