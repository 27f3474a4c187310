"""Large pictures in tiles: the same picture as in one stream, regions and thumbnails of it, and files that lie about
their tiles."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gancodec import container, imageio, weights
from gancodec.codec import (
    DecodeOptions,
    EncodeOptions,
    decode_bytes,
    encode_picture,
    read_allocation,
    read_symbols,
    verify_bytes,
)
from gancodec.codec.api import REDUCTIONS
from gancodec.container import Container, Tiles, spec
from gancodec.errors import CorruptFile, UnsupportedFile, UsageError
from gancodec.models import stream, tiled
from gancodec.models.gic1.codec import TunableCodec
from gancodec.models.stream import Frame
from gancodec.tiling import Area, View
from gancodec.types import Geometry, Picture
from tests.conftest import Run
from tests.tiny import held, picture

HEIGHT, WIDTH, SIDE = 530, 700, 256  # 3 x 3 tiles, the last ones cut


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    """The tiny model, and tiles so small that a small picture has some."""
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))
    monkeypatch.setattr(stream, "TILE_SIDE", SIDE)
    monkeypatch.setattr(stream, "TILED_FROM", 2 * SIDE**2)


@pytest.fixture(scope="module")
def source() -> Picture:
    alpha = np.add.outer(np.arange(HEIGHT), 2 * np.arange(WIDTH)).astype(np.uint8)
    return Picture(picture(HEIGHT, WIDTH, 7), alpha, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")


def one_stream(source: Picture, options: EncodeOptions) -> bytes:
    """The same picture, not cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "TILED_FROM", 1 << 40)
        return encode_picture(source, options).data


@pytest.mark.parametrize("entropy", ["range", "huffman"])
def test_tiles_hold_the_same_picture(source: Picture, entropy: str) -> None:
    """The same levels and quantised latents, but for means that another context predicts; so no seam is to be seen."""
    options = EncodeOptions(n=-1.0, entropy=entropy)
    data, whole = encode_picture(source, options).data, one_stream(source, options)
    parsed = container.read(data)
    assert parsed.tiles is not None
    assert parsed.tiles.side == SIDE
    assert len(parsed.tiles.lengths) == 9
    assert [chunk.name for chunk in parsed.chunks[:2]] == ["TILES", "IMAGE"]
    assert container.read(whole).tiles is None
    verify_bytes(data)
    cut, uncut = read_symbols(data), read_symbols(whole)
    assert np.array_equal(cut.levels, uncut.levels)
    assert np.array_equal(cut.hyper, uncut.hyper)
    assert cut.latents.shape == uncut.latents.shape
    assert np.abs(cut.dequantised16 - uncut.dequantised16).max() <= 16
    a, b = decode_bytes(data), decode_bytes(whole)
    assert a.rgb.shape == source.rgb.shape
    assert np.array_equal(a.alpha, source.alpha)  # type: ignore[arg-type]
    assert a.exif == b.exif == source.exif


def test_the_decoder_of_tiles_sees_across_their_borders(source: Picture) -> None:
    """Of the same latents, tiles and one stream make the very same pixels."""
    codec = TunableCodec(weights.get(None), "cpu")
    data = encode_picture(source, EncodeOptions(n=-1.0)).data
    reader = tiled.Reader(codec, container.read(data))
    geometry, shift = Geometry(width=WIDTH, height=HEIGHT), container.read(data).header.level_shift
    latent, level = codec.planes(reader.symbols(), Frame(geometry, "range", shift))
    sites = Area(64, 448, 128, 640)
    found = reader(sites)
    assert np.array_equal(found[0].values, latent.values[sites.sites(16)])
    assert np.array_equal(found[1].values, level.values[sites.sites(64)])
    expected = codec.network.synthesise(held(latent, level), reader.geometry, 0.0)
    assert np.array_equal(decode_bytes(data).rgb, expected)


def test_a_size_is_hit_with_tiles_too(source: Picture) -> None:
    target = int(0.8 * len(encode_picture(source, EncodeOptions(n=0.0)).data))
    coded = encode_picture(source, EncodeOptions(size=target))
    assert container.read(coded.data).tiles is not None
    assert 0.985 * target <= len(coded.data) <= target


def test_bits_of_blocks_add_up(source: Picture) -> None:
    data = encode_picture(source, EncodeOptions(n=-1.0)).data
    found = read_allocation(data)
    assert found.bits is not None
    assert found.bits.values.shape == found.maps[0].plane.values.shape == (9, 11)
    assert found.bits.values.sum() == pytest.approx(8 * len(container.read(data).image), rel=1e-9)


def test_progress_is_told(source: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    from gancodec.models import inference as network

    monkeypatch.setattr(network, "TILE", 512)
    seen: list[tuple[int, int]] = []
    coded = encode_picture(source, EncodeOptions(n=1.0), progress=lambda *at: seen.append(at))
    assert seen[:4] == [(12, 100), (25, 100), (37, 100), (50, 100)]
    assert seen == sorted(seen)
    assert any(50 < done < 100 for done, _ in seen), "the tiles that are coded"
    assert seen[-1] == (100, 100)
    for bpp in (0.5, 1.0):
        seen.clear()
        encode_picture(source, EncodeOptions(bpp=bpp), progress=lambda *at: seen.append(at))
        assert seen == sorted(seen), "it never goes back, however many probes there are"
        assert len(set(seen)) > 6
        assert seen[-1] == (100, 100)
    seen.clear()
    decode_bytes(coded.data, progress=lambda *at: seen.append(at))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- regions and scales


REGIONS = [
    (0, 0, WIDTH, HEIGHT),
    (0, 0, 1, 1),
    (699, 529, 1, 1),
    (250, 250, 20, 20),
    (100, 300, 257, 99),
    (600, 0, 900, 64),
]


@pytest.mark.parametrize("box", REGIONS)
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_a_region_is_what_the_whole_has_there(source: Picture, box: tuple[int, int, int, int], reduce: int) -> None:
    """Within a rounding step; a pixel of a thumbnail is the mean of those it stands for, cut to the picture or not."""
    data = encode_picture(source, EncodeOptions(n=-1.0)).data
    found = decode_bytes(data, DecodeOptions(region=box, reduce=reduce))
    left, top, width, height = box
    whole = decode_bytes(data, DecodeOptions(reduce=reduce))
    bottom, right = min(top + height, HEIGHT), min(left + width, WIDTH)
    rows, columns = slice(top // reduce, -(-bottom // reduce)), slice(left // reduce, -(-right // reduce))
    assert found.rgb.shape == whole.rgb[rows, columns].shape
    assert np.abs(found.rgb.astype(int) - whole.rgb[rows, columns]).max() <= 1
    assert np.array_equal(found.alpha, whole.alpha[rows, columns])  # type: ignore[arg-type, index]
    assert found.exif == source.exif


@pytest.mark.parametrize("profile", ["tunable", "split"])
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_thumbnails_are_means(source: Picture, profile: str, reduce: int) -> None:
    asked = (
        EncodeOptions(n=-1.0) if profile == "tunable" else EncodeOptions(profile="split", roi_boxes=((9, 9, 99, 99),))
    )
    data = encode_picture(source, asked).data
    whole, small = decode_bytes(data), decode_bytes(data, DecodeOptions(reduce=reduce))
    height, width = (side // reduce * reduce for side in (HEIGHT, WIDTH))
    means = whole.rgb[:height, :width].reshape(height // reduce, reduce, width // reduce, reduce, 3).mean((1, 3))
    inside = small.rgb[: height // reduce, : width // reduce]
    assert small.rgb.shape == (-(-HEIGHT // reduce), -(-WIDTH // reduce), 3)
    clipped = (whole.rgb[:height, :width] % 255 == 0).reshape(height // reduce, reduce, width // reduce, reduce, 3)
    clear = ~clipped.any((1, 3))  # clipping comes after the mean
    assert clear.mean() > 0.5
    assert np.abs(inside - means)[clear].max() <= 1


def test_only_tiles_of_the_region_are_read(source: Picture) -> None:
    """The last tile is nonsense; a region that is far from it is decoded all the same, the whole is not."""
    parsed = container.read(encode_picture(source, EncodeOptions(n=-1.0)).data)
    assert parsed.tiles is not None
    lengths = parsed.tiles.lengths
    damaged = container.write(replace(parsed, image=parsed.image[: -lengths[-1]] + bytes(lengths[-1])))
    with pytest.raises(CorruptFile):
        decode_bytes(damaged)
    with pytest.raises(CorruptFile):
        verify_bytes(damaged)
    with pytest.raises(CorruptFile):
        decode_bytes(damaged, DecodeOptions(region=(400, 400, 64, 64)))  # the generator looks at its neighbours too
    assert decode_bytes(damaged, DecodeOptions(region=(0, 0, 64, 64))).rgb.shape == (64, 64, 3)
    damaged = container.write(replace(parsed, image=bytes(lengths[0]) + parsed.image[lengths[0] :]))
    with pytest.raises(CorruptFile):
        decode_bytes(damaged, DecodeOptions(region=(0, 0, 64, 64)))
    assert decode_bytes(damaged, DecodeOptions(region=(WIDTH - 8, HEIGHT - 8, 64, 64))).rgb.shape == (8, 8, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"region": (WIDTH, 0, 5, 5)},
        {"region": (0, HEIGHT, 5, 5)},
        {"region": (0, 0, 0, 5)},
        {"region": (-1, 0, 5, 5)},
        {"region": (0.5, 0, 5, 5)},
        {"region": (0, 0, 5)},
        {"region": "0,0,5,5"},
        {"reduce": 3},
        {"reduce": 0},
        {"reduce": 16},
        {"reduce": 2.0},
        {"reduce": True},
    ],
)
def test_wrong_views_are_refused(source: Picture, options: dict[str, object]) -> None:
    data = encode_picture(Picture(source.rgb), EncodeOptions(n=2.0)).data
    with pytest.raises(UsageError):
        decode_bytes(data, DecodeOptions(**options))  # type: ignore[arg-type]


def test_the_command_line_decodes_regions_and_thumbnails(source: Picture, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "large.gic"
    path.write_bytes(encode_picture(source, EncodeOptions(n=-1.0)).data)
    target = tmp_path / "part.png"
    assert run("decode", path, "-o", target, "--region", "100,300,257,99", "--scale", "1/4").code == 0
    found = imageio.load(str(target))
    expected = decode_bytes(path.read_bytes(), DecodeOptions(region=(100, 300, 257, 99), reduce=4))
    assert np.array_equal(found.rgb, expected.rgb)
    assert np.array_equal(found.alpha, expected.alpha)  # type: ignore[arg-type]
    for words in (["--region", "700,0,5,5"], ["--region", "1,2,3"], ["--region", "0,0,5,5:1"], ["--scale", "1/3"]):
        ran = run("decode", path, "-o", tmp_path / "none.png", *words)
        assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert run("decode", path, "-o", tmp_path / "none.png", "--scale", "8").code == 2
    assert not (tmp_path / "none.png").exists()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_progress_of_one_large_picture_is_shown_on_a_terminal(source: Picture, tmp_path: Path) -> None:
    path = tmp_path / "large.gic"
    path.write_bytes(encode_picture(Picture(source.rgb), EncodeOptions(n=1.0)).data)
    code = (
        "import sys\nfrom gancodec.cli.app import main\nfrom gancodec.models import inference as network\n"
        "network.TILE = 256\nmain(sys.argv[1:])"
    )
    shown = {}
    for words in ([], ["-q"]):
        ours, theirs = os.openpty()
        command = [sys.executable, "-c", code, "decode", str(path), "-o", str(tmp_path / "large.png"), "-f", *words]
        subprocess.run(command, stderr=theirs, check=True, timeout=120)
        os.close(theirs)
        shown[bool(words)] = _drained(ours)
    assert "9/9" in shown[False]
    assert shown[True] == ""


def _drained(descriptor: int) -> str:
    """All that was written to a terminal whose other end is closed."""
    parts = []
    with contextlib.suppress(OSError):  # how Linux tells the end
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode()


@settings(max_examples=200)
@given(st.integers(1, 90), st.integers(1, 90), st.data())
def test_views_take_what_they_say(height: int, width: int, data: st.DataObject) -> None:
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    reduce = data.draw(st.sampled_from(REDUCTIONS))
    view = View(Area(top, bottom, left, right), reduce)
    pixels = np.arange(height * width).astype(np.uint8).reshape(height, width)
    whole = View.whole(Geometry(width=width, height=height), reduce).taken_from(pixels)
    assert np.array_equal(view.taken_from(pixels), whole[view.cells.slices()])


# --- files that lie about their tiles


def lying(parsed: Container, tiles: Tiles | bytes) -> bytes:
    """The file with another TILES chunk, all checksums right."""
    from gancodec.container import chunks, header

    body = tiles if isinstance(tiles, bytes) else container.tiles.pack(tiles)
    parts = [header.pack(parsed.header), chunks._chunk(spec.TILES, body), chunks._chunk(spec.IMAGE, parsed.image)]
    return b"".join((*parts, chunks._chunk(spec.END, b"")))


def test_tiles_that_do_not_fit_are_refused(source: Picture) -> None:
    parsed = container.read(encode_picture(Picture(source.rgb), EncodeOptions(n=1.0)).data)
    assert parsed.tiles is not None
    side, lengths = parsed.tiles
    assert container.read(lying(parsed, parsed.tiles)).tiles == parsed.tiles
    moved = (lengths[0] + 1, lengths[1] - 1, *lengths[2:])
    packed = container.tiles.pack(parsed.tiles)
    lies: list[Tiles | bytes] = [
        Tiles(side, lengths[:-1]),
        Tiles(side, (*lengths, 0)),
        Tiles(side, (lengths[0] + 1, *lengths[1:])),
        Tiles(512, lengths),
        Tiles(4096, (sum(lengths),)),
        Tiles(128, lengths),
        b"",
        b"\xff",
        b"\x00" * 50,
        b"\xff" * 40,
        packed[:-1],
        packed + b"\0",
    ]
    for lie in lies:
        with pytest.raises(CorruptFile):
            container.read(lying(parsed, lie))
    with pytest.raises(CorruptFile):  # fits the container, but not the streams
        decode_bytes(lying(parsed, Tiles(side, moved)))
    with pytest.raises(UsageError):
        container.write(replace(parsed, tiles=Tiles(side, lengths[:-1])))


def test_a_stream_for_too_many_pixels_is_refused_before_it_is_read(source: Picture) -> None:
    parsed = container.read(one_stream(Picture(picture(64, 64)), EncodeOptions(n=1.0)))
    for width, height in ((4096, 4097), (1 << 20, 65)):
        data = container.write(replace(parsed, header=replace(parsed.header, width=width, height=height)))
        for read in (decode_bytes, verify_bytes, read_symbols):
            with pytest.raises(CorruptFile, match="must be cut into tiles"):
                read(data)


def test_split_files_have_no_tiles(source: Picture) -> None:
    parsed = container.read(encode_picture(source, EncodeOptions(profile="split", roi_boxes=((9, 9, 99, 99),))).data)
    with pytest.raises(CorruptFile, match="TILES"):
        container.read(lying(parsed, Tiles(256, (len(parsed.image), *[0] * 8))))


def test_builds_without_tiles_call_them_unsupported(source: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a build that does not know the chunk says."""
    data = encode_picture(Picture(source.rgb), EncodeOptions(n=1.0)).data
    names = {kind: name for kind, name in spec.CHUNK_NAMES.items() if kind != spec.TILES}
    monkeypatch.setattr(spec, "CHUNK_NAMES", names)
    with pytest.raises(UnsupportedFile, match="0x03"):
        container.read(data)
