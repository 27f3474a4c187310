"""What several tests share: pictures, .gic files, a codec that needs no weights, the command line in this process."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from gancodec import weights
from gancodec.cli import app
from gancodec.codec import api
from gancodec.container import Container, Header, write
from gancodec.errors import MissingWeights, TargetMissed
from gancodec.options import DecodeOptions, EncodeOptions
from gancodec.types import Picture


def weights_installed() -> bool:
    """Is there a default model to encode with?"""
    try:
        return weights.find(None).installed
    except MissingWeights:
        return False


needs_weights = pytest.mark.skipif(not weights_installed(), reason="no weights are installed")


class Ran(NamedTuple):
    """What a command returned and printed."""

    code: int
    out: bytes
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """The command line, in this process."""

    def _run(*arguments: str | Path, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        handlers = {number: signal.getsignal(number) for number in app.END_SIGNALS}
        try:
            with pytest.raises(SystemExit) as stopped:
                app.main([str(argument) for argument in arguments])
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        out, err = capsysbinary.readouterr()
        return Ran(int(stopped.value.code or 0), out, err.decode())

    return _run


def make_gic(width: int = 40, height: int = 30, image: bytes = b"coded", *, n: int = 250, flags: int = 0) -> bytes:
    """A sound container around bytes that no entropy coder wrote."""
    header = Header(width, height, 1, bytes(range(8)), 0, 0, flags, n, 0)
    return write(Container(header, image, None, None, None, None))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small PNG, 40x30."""
    path = tmp_path / "photo.png"
    ramp = np.linspace(0, 255, 40 * 30 * 3).reshape(30, 40, 3).astype(np.uint8)
    Image.fromarray(ramp).save(path)
    return path


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    """A sound .gic file, 40x30; only `fake_codec` can decode it."""
    path = tmp_path / "coded.gic"
    path.write_bytes(make_gic())
    return path


def closed_folder(monkeypatch: pytest.MonkeyPatch, name: str, number: int = 13) -> None:
    """Let no folder of this name be listed, not by root either."""
    scandir = os.scandir

    def refuse(path: str) -> object:
        if os.path.basename(path) == name:
            raise OSError(number, os.strerror(number), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


class FakeCodec:
    """Stands in for the codec; remembers the options that it was given."""

    def __init__(self) -> None:
        self.encoded: list[EncodeOptions] = []
        self.decoded: list[DecodeOptions] = []
        self.error: BaseException | None = None
        self.image = b"coded"

    def encode_picture(self, picture: Picture, options: EncodeOptions, **_: object) -> api.Encoded:
        """A container around `image`; targets up to 0.01 bpp are out of reach."""
        self.encoded.append(options)
        if self.error is not None:
            raise self.error
        height, width = picture.rgb.shape[:2]
        hit = options.bpp is None or options.bpp > 0.01
        if options.strict and not hit:
            raise TargetMissed("2 bytes are out of reach")
        data = make_gic(width, height, self.image, n=round(1000 * (options.n or 0.0)))
        n = None if options.profile == "split" else options.n or 0.0
        return api.Encoded(data, n, 8 * len(data) / (width * height), 3, hit, picture.notices)

    def decode_parsed(self, parsed: Container, options: DecodeOptions, *_: object) -> api.Decoded:
        """A gray picture of the size that the header states."""
        self.decoded.append(options)
        if self.error is not None:
            raise self.error
        header = parsed.header
        return api.Decoded(Picture(np.full((header.height, header.width, 3), 128, np.uint8)))


@pytest.fixture
def fake_codec(monkeypatch: pytest.MonkeyPatch) -> FakeCodec:
    """Replace encoding and decoding by `FakeCodec`."""
    fake = FakeCodec()
    monkeypatch.setattr(api, "encode_picture", fake.encode_picture)
    monkeypatch.setattr(api, "decode_parsed", fake.decode_parsed)
    return fake


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights with the seeded tiny model as its default."""
    from gancodec.models.registry import MODELS
    from gancodec.train.freeze import install
    from tests.tiny import tiny_weights

    folder = tmp_path_factory.mktemp("weights")
    install(tiny_weights(), MODELS["gic1-tiny"], folder, {"description": "seeded, for tests"})
    manifest = folder / "manifest.json"
    record = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps(record | {"default": "gic1-tiny"}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small pictures to train on."""
    from tests.tiny import write_pictures

    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with feature networks of random weights, of the names and shapes (narrower) of the real ones."""
    from tests.tiny import write_backbones

    return write_backbones(tmp_path_factory.mktemp("backbones"))
