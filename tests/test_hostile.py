"""Attacks on the decoder, named in tests/hostile/README.md. Damage is always found, always as one clean error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gancodec import container, weights
from gancodec.codec import Box, EncodeOptions, decode_bytes, encode_picture, read_symbols, verify_bytes
from gancodec.codec.api import codec_of
from gancodec.container import Container, spec
from gancodec.errors import CorruptFile, GicError, UnsupportedFile
from gancodec.models.codec import Codec
from gancodec.models.gic1.codec import TunableCodec
from gancodec.models.gic1.symbols import Target
from gancodec.models.gic2 import symbols as gic2
from gancodec.models.gic2.codec import Gic2Codec
from gancodec.models.gic2.config import HYPER_LIMIT
from gancodec.models.levels import LEVELS
from gancodec.models.registry import MODELS
from gancodec.models.stream import CODERS, Frame
from gancodec.models.wu2019 import symbols as wu2019
from gancodec.models.wu2019.codec import Wu2019Codec
from gancodec.models.wu2019.config import STRIDE
from gancodec.train.freeze import install
from gancodec.types import Geometry, Picture
from tests.conftest import Run
from tests.test_container import chunk, head
from tests.tiny import picture, tiny_gic2_weights, tiny_weights, tiny_wu2019_weights

ROOT = Path(__file__).resolve().parent.parent
REFUSALS = (CorruptFile, UnsupportedFile)
HEADER_BYTES = 40  # more than any header here: attacked with every value
MASKS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF, 0x7F, 0x55, 0xAA)
RANDOM_CHANGES = 2000
LIE_SECONDS, LIE_MIB = 20, 1024
Files = dict[str, bytes]


def default_folder() -> Path | None:
    """Where an installed default model is, if there is one."""
    try:
        return weights.get(None).info.path.parent
    except weights.MissingWeights:
        return None


INSTALLED = default_folder()
TINY = {"gic1-tiny": tiny_weights, "wu2019-tiny": tiny_wu2019_weights, "gic2-tiny": tiny_gic2_weights}
MODELS_HERE = [
    "gic1-tiny",
    "wu2019-tiny",
    "gic2-tiny",
    pytest.param("default", marks=pytest.mark.skipif(INSTALLED is None, reason="no weights")),
]


@pytest.fixture(scope="module", params=MODELS_HERE)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """GANCODEC_WEIGHTS with the model under attack."""
    place = INSTALLED
    if request.param != "default" or place is None:
        place = tmp_path_factory.mktemp("weights")
        made = TINY[request.param]()
        install(made, MODELS[made.info.name], place, {"description": "seeded, for tests"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(weights.ENVIRONMENT, str(place))
        yield place


@pytest.fixture(scope="module")
def files(folder: Path) -> Files:
    """Sound files of all coders, with and without alpha and metadata."""
    rng = np.random.default_rng(1)
    alpha = rng.integers(0, 256, (50, 70), dtype=np.uint8)
    full = Picture(picture(50, 70, 2), alpha, icc=b"profile" * 40, exif=b"Exif\0\0MM\0*", xmp=b"<x:xmpmeta/>")

    def encode(source: Picture, n: float, entropy: str = "range") -> bytes:
        return encode_picture(source, EncodeOptions(n=n, entropy=entropy)).data

    def encode_split(inner: str) -> bytes:
        asked = EncodeOptions(profile="split", inner=inner, roi_boxes=(Box(20, 9, 30, 20),))
        return encode_picture(Picture(full.rgb, alpha, icc=b"profile" * 40), asked).data

    made = {
        "small": encode(Picture(picture(48, 40)), 2.0),
        "range": encode(Picture(picture(120, 150, 3)), -1.0),
        "huffman": encode(Picture(picture(100, 90, 4)), -1.0, "huffman"),
        "full": encode(full, 0.5),
        "full-huffman": encode(full, 0.5, "huffman"),
        "split": encode_split("lossy"),
        "split-lossless": encode_split("lossless"),
    }
    for data in made.values():
        verify_bytes(data)
    return made


def refused(data: bytes, what: str) -> None:
    """Fail unless decoding refuses `data` as damaged or unsupported: one line, exit code 3."""
    try:
        decode_bytes(data)
    except REFUSALS as error:
        said = str(error)
    else:
        pytest.fail(f"{what}: decoded as if nothing had happened")
    assert said, what
    assert "\n" not in said, what


def changed(data: bytes, position: int, mask: int) -> bytes:
    """`data` with the bits of `mask` flipped at `position`."""
    return data[:position] + bytes((data[position] ^ mask,)) + data[position + 1 :]


def rewrapped(data: bytes, image: bytes, **header: int) -> bytes:
    """`data` with another entropy-coded stream, and other header fields, under checksums that fit."""
    parsed = container.read(data)
    return container.write(replace(parsed, image=image, header=replace(parsed.header, **header)))


# --- damage: checksums must see it


def test_every_single_byte_change(files: Files) -> None:
    data = files["small"]
    for position in range(len(data)):
        masks = range(1, 256) if position < HEADER_BYTES else MASKS
        for mask in masks:
            refused(changed(data, position, mask), f"byte {position} ^ {mask:#x}")


def test_random_single_byte_changes_of_other_files(files: Files) -> None:
    rng = np.random.default_rng(2)
    others = [name for name in files if name != "small"]
    for i in range(RANDOM_CHANGES):
        data = files[others[i % len(others)]]
        position, mask = int(rng.integers(len(data))), int(rng.integers(1, 256))
        refused(changed(data, position, mask), f"{others[i % len(others)]}: byte {position} ^ {mask:#x}")


def test_every_truncation(files: Files) -> None:
    for name in ("small", "full-huffman"):
        for length in range(len(files[name])):
            refused(files[name][:length], f"{name} cut to {length}")


def test_appended_bytes(files: Files) -> None:
    for name, data in files.items():
        for byte in range(256):
            refused(data + bytes((byte,)), f"{name} + {byte:#x}")
        for tail in (bytes(1000), data, data[-5:], b"\n"):
            refused(data + tail, f"{name} + {len(tail)} bytes")


def test_removed_doubled_and_swapped_chunks(files: Files) -> None:
    data = files["full"]
    infos = container.read(data).chunks
    starts = [info.offset for info in infos] + [len(data)]
    head, parts = data[: starts[0]], [data[a:b] for a, b in zip(starts, starts[1:], strict=False)]
    image = [info.name for info in infos].index("IMAGE")
    before, after = b"".join(parts[:image]), parts[image + 1 :]
    refused(head + before + b"".join(after), "no IMAGE")
    refused(head + b"".join(parts[:-1]), "no END")
    refused(head + before + parts[image] + b"".join(parts[image:]), "two IMAGE")
    refused(head + before + after[0] + parts[image] + b"".join(after[1:]), "IMAGE late")
    refused(head + before + parts[image] + parts[-1] + b"".join(after), "END early")
    refused(head + before + parts[image] + after[1] + b"".join(after[1:]), "two of one kind")


# --- well-checksummed lies: the entropy coder must see them, or they are a picture


def mutations(image: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Wrong streams of about the right kind."""
    for word in range(0, len(image), max(4, len(image) // 24)):
        yield changed(image, word, int(rng.integers(1, 256)))
    for length in (0, 1, 3, 4, 8, len(image) // 2, len(image) - 4, len(image) - 1):
        yield image[: max(length, 0)]
    for size in (4, 40, 400):
        yield from (bytes(size), b"\xff" * size, rng.bytes(size), image + bytes(size), image + rng.bytes(size))


@pytest.mark.parametrize("name", ["small", "range", "huffman", "split", "split-lossless"])
def test_wrong_streams_are_refused_or_pictures(files: Files, name: str) -> None:
    data = files[name]
    image = container.read(data).image
    refusals = 0
    for wrong in mutations(image, np.random.default_rng(3)):
        if wrong == image:
            continue
        forged = rewrapped(data, wrong)
        try:
            verify_bytes(forged)
        except CorruptFile:
            refusals += 1
            continue
        header = container.read(forged).header
        assert decode_bytes(forged).rgb.shape == (header.height, header.width, 3)
    assert refusals > 20


@pytest.mark.parametrize("name", ["small", "range", "huffman"])
def test_cut_and_continued_streams_are_refused(files: Files, name: str) -> None:
    """A chunk that was cut or continued by someone who mended the checksums is never a picture."""
    image = container.read(files[name]).image
    for length in range(0, len(image), 4 if name == "small" else 36):
        refused(rewrapped(files[name], image[:length]), f"{name} cut to {length} of {len(image)}")
    for tail in (b"\0", bytes(4), bytes(64), b"\xff\xff\xff\xff"):
        refused(rewrapped(files[name], image + tail), f"{name} + {tail!r}")


def extremes(codec: Codec, geometry: Geometry) -> tuple[Target | wu2019.Symbols | gic2.Wanted, int]:
    """What is farthest from anything that an encoder would code, with a level shift."""
    rng = np.random.default_rng(4)
    if isinstance(codec, Wu2019Codec):  # no value is out of its range, but no picture has these
        shape = geometry.padded[0] // STRIDE, geometry.padded[1] // STRIDE
        depth = rng.choice(np.array([0, codec.entropy.channels], np.int32), shape)
        z = rng.choice(np.array([0, 3], np.int32), (codec.entropy.channels, *shape))
        return wu2019.Symbols(depth, z * (depth > 0)), 0
    levels = np.array([[0], [LEVELS - 1]], np.int32)
    if isinstance(codec, Gic2Codec):
        hyper = rng.choice([-HYPER_LIMIT, 0, HYPER_LIMIT], (codec.entropy.hyper_channels, *geometry.blocks))
        latents = rng.choice([-(1 << 16), 0, 1 << 16], (codec.entropy.channels, *geometry.latent))
        return gic2.Wanted(gic2.Symbols(levels, hyper.astype(np.int32), latents.astype(np.int32)), (gic2.LAST,)), 15
    assert isinstance(codec, TunableCodec)
    hyper = rng.choice(np.array([-65000, 0, 65000], np.int32), (codec.entropy.hyper_channels, *geometry.blocks))
    latents = rng.choice(np.array([-(1 << 22), 0, 1 << 22], np.int32), (codec.entropy.channels, *geometry.latent))
    return Target(levels, hyper, latents), 15


@pytest.mark.parametrize("entropy", ["range", "huffman"])
def test_extreme_symbols_decode(files: Files, folder: Path, entropy: str) -> None:
    """Legal streams of values that no encoder would choose: nothing overflows, writer and reader agree."""
    codec = codec_of(weights.get(None), "cpu")
    geometry = Geometry(64, 128)
    target, shift = extremes(codec, geometry)
    frame = Frame(geometry, entropy, shift)
    writer = CODERS[entropy][0](codec.entropy.tables)
    written = codec.walk(lambda: writer, frame, target)
    (stream,) = codec.write(target, frame)
    coder = spec.ENTROPY_CODERS[entropy]
    forged = rewrapped(files["small"], stream, width=64, height=128, level_shift=shift, coder=coder)
    for a, b in zip(written, read_symbols(forged), strict=True):
        np.testing.assert_array_equal(a, b)
    values, least = (written.z, 2) if isinstance(codec, Wu2019Codec) else (written.latents, 10_000)
    assert np.abs(values).max() > least
    assert decode_bytes(forged).rgb.shape == (128, 64, 3)


@pytest.mark.parametrize("field", ["width", "height", "level_shift", "coder", "codec", "model"])
def test_header_lies_under_good_checksums(files: Files, field: str) -> None:
    header = container.read(files["range"]).header
    image = container.read(files["range"]).image
    lies = {
        "width": (1, 64, 128, 193, 1000, 1 << 20),
        "height": (1, 64, 129, 1000, 1 << 20),
        "level_shift": tuple(v for v in (0, 1, 7, 15) if v != header.level_shift),
        "coder": (1, 2, 3, 4, 255),
        "codec": tuple(v for v in (0, 1, 2, 6, 255) if v != header.codec),
        "model": (60_000,),
    }[field]
    for value in lies:
        forged = head(replace(header, **{field: value})) + chunk(spec.IMAGE, image) + chunk(spec.END, b"")
        with pytest.raises(GicError) as caught:
            read_symbols(forged)
        assert caught.value.exit_code == (4 if field == "model" else 3), f"{field} = {value}"


def test_bombs_are_not_inflated(files: Files) -> None:
    """Chunks that state a little and inflate to much, or state much: refused without making more than they may."""
    data = files["small"]
    infos = container.read(data).chunks
    end = data[infos[-1].offset :]
    body = data[: infos[-1].offset]
    pixels = 48 * 40
    for kind in (0x02, 0x83, 0x84, 0x85):
        for stated, real in ((pixels, 1 << 24), (1 << 22, 1 << 24), (0xFFFFFFFF, 10), (5, 4), (4, 5)):
            deflated = zlib.compress(bytes(real), 9)
            raw = bytes((kind,)) + _chunk_body(_varint(stated) + deflated)
            refused(body + raw + zlib.crc32(raw).to_bytes(4, "little") + end, f"{kind:#x} {stated} {real}")


def _chunk_body(body: bytes) -> bytes:
    return _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def test_huge_pictures_in_tiny_files_are_refused_fast(files: Files, folder: Path, tmp_path: Path) -> None:
    """100 megapixels declared over streams of a few hundred bytes: no gigabytes, no minutes."""
    flat = Picture(np.full((64, 64, 3), (40, 120, 200), np.uint8))
    forged = []
    for entropy in ("range", "huffman"):
        data = encode_picture(flat, EncodeOptions(n=2.0, entropy=entropy)).data
        image = container.read(data).image
        noise = np.random.default_rng(5).bytes(200)
        streams = (image, image + bytes(4), image + noise, b"", noise, bytes(200), b"\xff" * 200)
        forged += [rewrapped(data, stream, width=10_000, height=10_000) for stream in streams]
    for i, data in enumerate(forged):
        (tmp_path / f"{i}.gic").write_bytes(data)
    code = (
        "import json, resource, sys, time\nfrom pathlib import Path\nfrom gancodec.codec import read_symbols\n"
        "from gancodec.errors import CorruptFile\nresult = []\n"
        "for path in sorted(Path(sys.argv[1]).glob('*.gic')):\n"
        "    started = time.perf_counter()\n    try:\n        read_symbols(path.read_bytes())\n"
        "        said = 'decoded'\n    except CorruptFile as error:\n        said = ''\n"
        "    result.append((path.name, said, time.perf_counter() - started))\n"
        # A child's ru_maxrss starts with what its parent had; VmHWM is its own.
        "status = Path('/proc/self/status')\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "if status.exists():\n    peak = next(int(s.split()[1]) for s in status.open() if s.startswith('VmHWM'))\n"
        "print(json.dumps([result, peak]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), weights.ENVIRONMENT: str(folder)}
    ran = subprocess.run([sys.executable, "-c", code, tmp_path], env=environment, capture_output=True, timeout=300)
    assert ran.returncode == 0, ran.stderr.decode()
    result, peak = json.loads(ran.stdout)
    assert len(result) == len(forged)
    for name, said, seconds in result:
        assert not said, name
        assert seconds < LIE_SECONDS, name
    assert peak / (1024 if sys.platform == "linux" else 1 << 20) < LIE_MIB


# --- the command line: exit code 3, one line, nothing left behind


def damages(data: bytes) -> dict[str, bytes]:
    """One of each kind."""
    image = container.read(data).image
    return {
        "empty": b"",
        "magic": changed(data, 0, 1),
        "version": changed(data, 8, 2),
        "header": changed(data, 12, 4),
        "stream": changed(data, len(data) - 10, 0x10),
        "cut": data[:-3],
        "junk": data + b"junk",
        "forged": rewrapped(data, image[: len(image) // 8 * 4]),
        "another format": b"\x89PNG\r\n\x1a\n" + data[8:],
    }


@pytest.mark.parametrize("command", ["decode", "verify"])
def test_command_line_says_one_line_and_leaves_nothing(files: Files, tmp_path: Path, run: Run, command: str) -> None:
    for kind, data in damages(files["range"]).items():
        source, target = tmp_path / "in" / "photo.gic", tmp_path / "out" / "photo.png"
        source.parent.mkdir(exist_ok=True)
        target.parent.mkdir(exist_ok=True)
        source.write_bytes(data)
        ran = run(command, source, *(("-o", target) if command == "decode" else ()))
        assert ran.code == 3, f"{kind}: {ran}"
        assert ran.out == b""
        assert len(ran.err.splitlines()) == 1, f"{kind}: {ran.err}"
        assert list(target.parent.iterdir()) == []
        assert [path.name for path in source.parent.iterdir()] == ["photo.gic"]


def test_command_line_in_a_process_of_its_own(files: Files, folder: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "photo.gic", tmp_path / "photo.png"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), weights.ENVIRONMENT: str(folder)}
    source.write_bytes(changed(files["full"], len(files["full"]) // 2, 0x20))
    command = [sys.executable, "-m", "gancodec", "decode", str(source), "-o", str(target)]
    ran = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (3, b"")
    assert len(ran.stderr.decode().splitlines()) == 1
    assert not target.exists()


def test_damaged_file_among_sound_ones(files: Files, tmp_path: Path, run: Run) -> None:
    """The sound ones are decoded; the command still says that something was wrong."""
    (tmp_path / "good.gic").write_bytes(files["small"])
    (tmp_path / "bad.gic").write_bytes(files["small"][:-1])
    ran = run("decode", tmp_path / "bad.gic", tmp_path / "good.gic", "-q")
    assert ran.code != 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["good.png"]


def test_unknown_critical_chunk_is_unsupported(files: Files) -> None:
    data = files["small"]
    end = container.read(data).chunks[-1].offset
    raw = bytes((0x7E,)) + _chunk_body(b"future")
    forged = data[:end] + raw + zlib.crc32(raw).to_bytes(4, "little") + data[end:]
    with pytest.raises(UnsupportedFile):
        decode_bytes(forged)
    raw = bytes((0xFE,)) + _chunk_body(b"future")
    skipped = data[:end] + raw + zlib.crc32(raw).to_bytes(4, "little") + data[end:]
    parsed: Container = container.read(skipped)
    assert parsed.image == container.read(data).image
