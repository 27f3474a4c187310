"""The other codecs: real files through the real encoders, sizes hit, command-line tools by stand-ins, and agreement
with figures measured earlier on Kodak."""

from __future__ import annotations

import csv
import io
import math
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gancodec import imageio
from gancodec.errors import GicError, MissingExtra, UsageError
from gancodec.evaluate import codecs, peers
from gancodec.evaluate.contract import Peer
from gancodec.metrics import psnr
from gancodec.types import Pixels
from tests.tiny import picture

SHARED = Path(__file__).parents[2] / "shared"
ANCHORS, KODAK = SHARED / "anchors" / "peers_kodak.csv", SHARED / "data" / "kodak"
PLUGINS = {"jxl": "pillow_jxl", "heic": "pillow_heif"}
PILLOW = ("jpeg", "webp", "jp2", "avif", "jxl", "heic")
# Variant of the measured figures -> our codec.
VARIANTS = {
    ("jpeg", "turbo-420-prog"): "jpeg",
    ("webp", "m6"): "webp",
    ("jpeg2000", "openjpeg-rate"): "jp2",
    ("avif", "pillow-default-s6-420"): "avif",
    ("heic", "x265-420"): "heic",
}


def _peer(name: str) -> Peer:
    if name in PLUGINS:
        pytest.importorskip(PLUGINS[name])
    return peers.PEERS[name]()


def _noisy(height: int = 192, width: int = 256) -> Pixels:
    rgb = picture(height, width) + np.random.default_rng(0).normal(0, 12, (height, width, 3))
    return np.clip(rgb, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", PILLOW)
def test_round_trip(name: str) -> None:
    peer, rgb = _peer(name), _noisy(121, 163)
    sizes, quality = [], []
    for setting in (peer.settings[0], peer.settings[len(peer.settings) // 2], peer.settings[-1]):
        data = peer.encode(rgb, setting)
        assert data == peer.encode(rgb, setting)
        decoded = peer.decode(data)
        assert decoded.shape == rgb.shape
        assert decoded.dtype == np.uint8
        sizes.append(len(data))
        quality.append(psnr(rgb, decoded))
    assert sizes == sorted(set(sizes))
    assert quality == sorted(set(quality))
    assert quality[-1] > 24
    assert set(peer.settings) <= set(peer.ladder) or name == "jp2"
    assert peer.version in peer.fingerprint
    assert peer.command in peer.fingerprint


@pytest.mark.parametrize("name", PILLOW)
def test_at_size(name: str) -> None:
    """Every size inside the codec's reach; AVIF and HEIC have whole settings only, so the nearest has to do."""
    peer = _peer(name)
    session = peer.open(_noisy())
    low, high = (len(session.at_setting(setting).data) for setting in (peer.settings[0], peer.settings[-1]))
    for size in np.geomspace(1.1 * low, 0.9 * high, 3):
        coded = session.at_size(round(size))
        off = abs(len(coded.data) / round(size) - 1)
        assert (coded.reached == "yes") == (off <= 0.02)
        place = peer.ladder.index(coded.setting)
        if coded.reached != "yes":
            assert name in ("avif", "heic")
            assert coded.reached == "nearest"
            beside = [session.at_setting(peer.ladder[p]) for p in (place - 1, place + 1)]
            assert len(beside[0].data) < size < len(beside[1].data)
            assert all(abs(math.log(len(b.data) / size)) >= abs(math.log(len(coded.data) / size)) for b in beside)
        assert coded.data == peer.encode(session.rgb, coded.setting)
        assert coded.search_seconds >= 0
        assert coded.seconds > 0


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_below_reach(name: str) -> None:
    peer, rgb = _peer(name), _noisy(64, 64)
    coded = peer.open(rgb).at_size(20)
    assert coded.reached == "no"
    assert coded.setting == peer.ladder[0]
    assert coded.data == peer.encode(rgb, peer.ladder[0])


def test_a_session_encodes_each_setting_once() -> None:
    asked: list[float] = []

    def encode(rgb: Pixels, setting: float) -> bytes:
        asked.append(setting)
        return bytes(round(100 * 1.05**setting))

    ladder = [float(v) for v in range(100)]
    peer = Peer("fake", ".fake", "q", ladder, ladder[:3], encode, lambda data: _noisy(8, 8), "1", "fake")
    session = peer.open(_noisy(8, 8))
    first = session.at_setting(50.0)
    assert session.at_setting(50.0) is first
    for size in (500, 2000, 1990, 500):
        assert session.at_size(size).reached in ("yes", "nearest")
    assert session.at_size(50).reached == "no"
    assert session.at_setting(0.0).reached == "yes", "what a search said is not what the setting says"
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("quality", [1, 3, 8, 20, 36, 49, 50, 75, 95, 100])
def test_whole_qualities_are_pillows(quality: int) -> None:
    rgb, buffer = _noisy(64, 80), io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, progressive=True, optimize=True, subsampling="4:2:0")
    assert peers.jpeg().encode(rgb, quality) == buffer.getvalue()


@given(st.floats(1, 100), st.floats(1, 100))
def test_tables_are_legal_and_ordered(a: float, b: float) -> None:
    low, high = (np.array(peers.jpeg_tables(q)) for q in sorted((a, b)))
    assert low.shape == (2, 64)
    assert np.all(low >= high)
    assert high.min() >= 1
    assert low.max() <= 255


def test_ladders_are_sorted_and_hold_the_settings() -> None:
    for name in ("jpeg", "webp", "avif"):
        peer = peers.PEERS[name]()
        assert list(peer.ladder) == sorted(set(peer.ladder))
        assert set(peer.settings) <= set(peer.ladder)


@pytest.mark.parametrize("name", PLUGINS)
def test_missing_plugin(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PLUGINS[name], None)
    codecs.get.cache_clear()
    with pytest.raises(MissingExtra) as raised:
        codecs.get(name)
    assert str(raised.value) == f"codec {name} needs an optional package: pip install 'gancodec[peers]'"
    assert name not in codecs.names()


def test_missing_feature_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.features, "check", lambda feature: feature != "avif")
    with pytest.raises(UsageError, match="codec avif: this build of Pillow"):
        peers.avif()
    assert "avif" not in codecs.names()
    assert "jpeg" in codecs.names()


@pytest.mark.parametrize("name", ["nonsense", "JPEG", "", "../jpeg"])
def test_unknown_codec(name: str) -> None:
    with pytest.raises(UsageError) as raised:
        codecs.get(name)
    assert str(raised.value).startswith(f"codec {name}: choose from gic, ")
    assert all(peer in str(raised.value) for peer in peers.PEERS)


# Command-line tools: stand-ins that take the same options.

FAKES = {
    "bpgenc": """
        if "-h" in args:
            print("BPG Image Encoder version 0.9.8", file=sys.stderr)
            sys.exit(1)
        from PIL import Image
        assert args["-f"] == "444" and args["-m"] == "9" and 0 <= int(args["-q"]) <= 51
        Image.open(args["last"]).convert("RGB").save(args["-o"], "JPEG", quality=100 - int(args["-q"]))
    """,
    "bpgdec": """
        from PIL import Image
        Image.open(args["last"]).save(args["-o"], "PNG")
    """,
    "vvencapp": """
        if "--version" in args:
            print("vvencapp version 1.2.3-fake")
            sys.exit(0)
        width, height = map(int, args["-s"].split("x"))
        data = open(args["-i"], "rb").read()
        assert width % 2 == height % 2 == 0 and len(data) == width * height * 3 // 2, "wrong picture size"
        assert args["-c"] == "yuv420" and args["-f"] == "1" and args["--preset"] == "medium" and args["--qpa"] == "1"
        step = 1 + int(args["-q"])
        data = data.translate(bytes(min(v // step * step + step // 2, 255) for v in range(256)))
        open(args["-o"], "wb").write(zlib.compress(data))
    """,
    "vvdecapp": """
        assert args["-d"] == "8"
        open(args["-o"], "wb").write(zlib.decompress(open(args["-b"], "rb").read()))
    """,
}
HEAD = """#!{python}
import sys, zlib
pairs = sys.argv[1:]
args = dict(zip(pairs, pairs[1:] + [""])) | {{"last": pairs[-1]}}
if True:
"""


class Tools:
    """A folder that is all of PATH, and the folder of temporary files."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.temporary = folder / "bin", folder / "temporary"
        self.bin.mkdir()
        self.temporary.mkdir()

    def install(self, *names: str) -> None:
        """Stand-ins that work."""
        for name in names:
            self.write(name, FAKES[name])

    def write(self, name: str, body: str) -> None:
        """A tool with this Python body."""
        path = self.bin / name
        path.write_text(HEAD.format(python=sys.executable) + "".join(f"{line}\n" for line in body.splitlines()))
        path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    made = Tools(tmp_path)
    monkeypatch.setenv("PATH", str(made.bin))
    monkeypatch.setattr(tempfile, "tempdir", str(made.temporary))
    codecs.get.cache_clear()
    return made


needs_scripts = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins start by their first line")
PAIRS = {"bpg": ("bpgenc", "bpgdec"), "vvc": ("vvencapp", "vvdecapp")}


@pytest.mark.parametrize("name", PAIRS)
def test_missing_tool(name: str, tools: Tools) -> None:
    encoder, decoder = PAIRS[name]
    with pytest.raises(UsageError, match=f"{encoder} is not on PATH"):
        codecs.get(name)
    assert name not in codecs.names()
    tools.install(encoder)
    with pytest.raises(UsageError, match=f"{decoder} is not on PATH"):
        codecs.get(name)


@needs_scripts
@pytest.mark.parametrize(
    ("name", "shape"), [("bpg", (48, 64)), ("bpg", (43, 55)), ("vvc", (48, 64)), ("vvc", (43, 55))]
)
def test_tool_round_trip(name: str, shape: tuple[int, int], tools: Tools) -> None:
    tools.install(*PAIRS[name])
    peer, rgb = codecs.get(name), picture(*shape)
    assert isinstance(peer, Peer)
    coarse, fine = (peer.encode(rgb, setting) for setting in (peer.ladder[12], peer.ladder[-1]))
    assert len(coarse) < len(fine)
    decoded = [peer.decode(data) for data in (coarse, fine)]
    assert all(d.shape == rgb.shape and d.dtype == np.uint8 for d in decoded)
    assert psnr(rgb, decoded[0]) < psnr(rgb, decoded[1])
    assert psnr(rgb, decoded[1]) > 28
    if name == "vvc":
        assert fine[:8] == bytes([0, 0, 0, shape[1], 0, 0, 0, shape[0]])
    assert list(tools.temporary.iterdir()) == []


@needs_scripts
@pytest.mark.parametrize("name", PAIRS)
def test_tool_rate_search(name: str, tools: Tools) -> None:
    tools.install(*PAIRS[name])
    peer = codecs.get(name)
    session = peer.open(_noisy(64, 64))
    low, high = (len(session.at_setting(setting).data) for setting in (peer.ladder[0], peer.ladder[-1]))
    assert low < high
    size = round((low * high) ** 0.5)
    coded = session.at_size(size)
    assert coded.reached in ("yes", "nearest")
    assert abs(len(coded.data) / size - 1) < 0.15
    assert session.at_size(high * 2).setting == peer.ladder[-1]
    assert list(tools.temporary.iterdir()) == []


@needs_scripts
def test_versions_of_tools(tools: Tools) -> None:
    tools.install("bpgenc", "bpgdec", "vvencapp", "vvdecapp")
    assert peers.bpg().version == "bpgenc version 0.9.8"
    assert peers.vvc().version == "vvencapp version 1.2.3-fake"


@needs_scripts
@pytest.mark.parametrize("name", PAIRS)
def test_failing_tool(name: str, tools: Tools) -> None:
    encoder, decoder = PAIRS[name]
    tools.install(encoder, decoder)
    peer, rgb = codecs.get(name), picture(16, 16)
    data = peer.open(rgb).at_setting(20).data
    body = "    print('first', file=sys.stderr)\n    print('no memory for it', file=sys.stderr)\n    sys.exit(3)"
    for tool, work in ((encoder, lambda: peer.open(rgb).at_setting(20)), (decoder, lambda: peer.decode(data))):
        tools.write(tool, body)
        with pytest.raises(GicError, match=rf"^{tool} failed \(3\): no memory for it$"):
            work()
        tools.write(tool, "    sys.exit(4)")
        with pytest.raises(GicError, match=rf"^{tool} failed \(4\): no message, no file$"):
            work()
    assert list(tools.temporary.iterdir()) == []


@needs_scripts
def test_decoder_that_writes_too_little(tools: Tools) -> None:
    tools.install("vvencapp", "vvdecapp")
    peer, rgb = codecs.get("vvc"), picture(16, 16)
    data = peer.open(rgb).at_setting(20).data
    tools.write("vvdecapp", "    open(args['-o'], 'wb').write(bytes(7))")
    with pytest.raises(GicError, match="7 bytes for 16x16 pixels"):
        peer.decode(data)
    assert list(tools.temporary.iterdir()) == []


# 4:2:0


@pytest.mark.parametrize("shape", [(2, 2), (1, 1), (64, 48), (33, 47), (7, 64)])
def test_yuv420_round_trip(shape: tuple[int, int]) -> None:
    height, width = shape
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([100 + x, 90 + y, 160 - (x + y) / 2], -1).astype(np.uint8)
    data = peers.to_yuv420(rgb)
    even = (width + width % 2) * (height + height % 2)
    assert len(data) == even * 3 // 2
    back = peers.from_yuv420(data, width, height)
    assert back.shape == rgb.shape
    assert np.abs(back.astype(int) - rgb).max() <= 4
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(GicError, match=f"decoder wrote {len(wrong)} bytes"):
            peers.from_yuv420(wrong, width, height)


def test_yuv420_planes() -> None:
    """Known colours in JPEG's matrix and full range: Y, then Cb, then Cr."""
    for colour, expected in {(255, 0, 0): (76, 85, 255), (0, 0, 255): (29, 255, 107), (9, 9, 9): (9, 128, 128)}.items():
        rgb = np.full((4, 6, 3), colour, np.uint8)
        data = np.frombuffer(peers.to_yuv420(rgb), np.uint8)
        planes = data[:24], data[24:30], data[30:]
        assert all(np.abs(plane.astype(int) - value).max() <= 1 for plane, value in zip(planes, expected, strict=True))


# Figures measured earlier, with the same kind of encoder


@pytest.mark.skipif(not ANCHORS.is_file(), reason="no measured figures in ../shared/anchors/peers_kodak.csv")
@pytest.mark.skipif(not KODAK.is_dir(), reason="the Kodak pictures are not in ../shared/data/kodak")
@pytest.mark.parametrize(("variant", "name"), VARIANTS.items())
def test_measured_figures(variant: tuple[str, str], name: str) -> None:
    """The same library versions give these very bytes; others may differ a little."""
    peer = _peer(name)
    with ANCHORS.open(newline="") as handle:
        rows = [r for r in csv.DictReader(handle) if (r["codec"], r["variant"]) == variant]
    images = {image: imageio.load(KODAK / image).rgb for image in ("01.png", "08.png", "20.png")}
    rows = [r for r in rows if r["image"] in images]
    assert len(rows) >= 21

    def measure(row: dict[str, str]) -> tuple[int, float]:
        rgb = images[row["image"]]
        data = peer.encode(rgb, float(row["setting"]))
        return len(data), psnr(rgb, peer.decode(data))

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(measure, rows))
    for row, (size, quality) in zip(rows, results, strict=True):
        where = f"{row['image']} at {row['setting']}"
        assert size == pytest.approx(int(row["bytes"]), rel=0.02), where
        assert quality == pytest.approx(float(row["psnr"]), abs=0.05), where
