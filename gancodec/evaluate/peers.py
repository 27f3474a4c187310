"""The codecs that people would use instead, through their real encoders."""

from __future__ import annotations

import io
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, __version__, features

from gancodec.errors import GicError, UsageError, optional
from gancodec.evaluate.contract import Peer
from gancodec.types import Pixels

# The tables of ITU-T T.81, annex K, which libjpeg scales by its quality.
LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 32),
)
TOOL_TIMEOUT, VERSION_TIMEOUT = 600, 30  # seconds for a picture by a command-line tool, and for its version


def _steps(low: float, high: float, count: int) -> list[float]:
    return [round(float(v), 6) for v in np.linspace(low, high, count)]


WHOLE = _steps(0, 100, 101)


def _open(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.ascontiguousarray(np.asarray(image.convert("RGB")))


def _saved(
    name: str,
    format: str,
    version: str,
    ladder: Sequence[float],
    settings: Sequence[float],
    quality: Callable[[float], dict[str, Any]] = lambda quality: {"quality": quality},
    said: str = "quality=Q",
    suffix: str = "",
    unit: str = "quality",
    **fixed: Any,
) -> Peer:
    """A peer that Pillow or a plugin writes: `quality` gives the options that a setting decides, `said` is how the
    command has them."""

    def encode(rgb: Pixels, setting: float) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, format, **quality(setting), **fixed)
        return buffer.getvalue()

    words = ", ".join([f"format={format!r}", said, *(f"{key}={value!r}" for key, value in fixed.items())])
    return Peer(name, suffix or f".{name}", unit, ladder, settings, encode, _open, version, f"Image.save({words})")


def _pillow(feature: str, name: str) -> str:
    """Version of a library inside Pillow; an error that says so where this build lacks it."""
    if not features.check(feature):
        raise UsageError(f"codec {name}: this build of Pillow comes without it")
    return f"{feature} {features.version(feature)}, Pillow {__version__}"


def _plugin(package: str) -> str:
    return f"{package} {metadata.version(package)}"


def _whole(quality: float) -> dict[str, Any]:
    """Of encoders that know whole numbers only."""
    return {"quality": int(quality)}


def jpeg_tables(quality: float) -> list[list[int]]:
    """libjpeg's quantisation tables, for a quality in 1 .. 100 that need not be whole: between its whole numbers."""
    below = int(quality)
    low, high = (5000 // q if q < 50 else 200 - 2 * q for q in (below, min(below + 1, 100)))
    scale = low + (high - low) * (quality - below)
    return [[min(max(int((v * scale + 50) // 100), 1), 255) for v in table] for table in (LUMA, CHROMA)]


def jpeg() -> Peer:
    """libjpeg-turbo: progressive, optimised, 4:2:0."""
    return _saved(
        "jpeg",
        "JPEG",
        _pillow("libjpeg_turbo", "jpeg"),
        ladder=_steps(1, 100, 991),
        settings=(1, 3, 5, 8, 11, 15, 20, 27, 36, 50),
        quality=lambda quality: {"qtables": jpeg_tables(quality)},
        suffix=".jpg",
        progressive=True,
        optimize=True,
        subsampling="4:2:0",
    )


def webp() -> Peer:
    """libwebp, method 6."""
    settings = (0, 0.1, 0.5, 1.2, 2.5, 5, 10, 18, 28, 43, 60)
    return _saved("webp", "WEBP", _pillow("webp", "webp"), _steps(0, 100, 2001), settings, method=6)


def jp2() -> Peer:
    """OpenJPEG: one layer at a rate, irreversible, bare codestream (85 bytes less than in a .jp2 file)."""
    return _saved(
        "jp2",
        "JPEG2000",
        _pillow("jpg_2000", "jp2"),
        ladder=[round(float(v), 5) for v in np.geomspace(0.004, 16, 1600)],
        settings=(0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1),
        quality=lambda bpp: {"quality_mode": "rates", "quality_layers": [24 / bpp]},
        said="quality_mode='rates', quality_layers=[24 / BPP]",
        suffix=".j2k",
        unit="bpp asked",
        irreversible=True,
        mct=1,
        no_jp2=True,
    )


def avif() -> Peer:
    """libaom through libavif: speed 6, 4:2:0, one thread (with more, libavif makes tiles and larger files)."""
    settings = (0, 5, 11, 18, 26, 36, 49, 60, 70)
    return _saved("avif", "AVIF", _pillow("avif", "avif"), WHOLE, settings, _whole, speed=6, max_threads=1)


def jxl() -> Peer:
    """libjxl, effort 7. The plugin's lowest quality is distance 15."""
    optional("pillow_jxl", "codec jxl", "peers")
    settings = (0, 3, 7, 15, 25, 40, 55, 70, 80)
    return _saved("jxl", "JXL", _plugin("pillow-jxl-plugin"), _steps(0, 99, 991), settings, effort=7, num_threads=1)


def heic() -> Peer:
    """x265 through libheif, 4:2:0."""
    optional("pillow_heif", "codec heic", "peers").register_heif_opener()
    return _saved("heic", "HEIF", _plugin("pillow-heif"), WHOLE, (0, 5, 10, 15, 21, 28, 36, 45, 55), _whole)


def _tool(codec: str, *names: str) -> None:
    for name in names:
        if shutil.which(name) is None:
            raise UsageError(f"codec {codec}: {name} is not on PATH")


def _call(command: Sequence[str], timeout: float) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, capture_output=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GicError(f"{command[0]} cannot be run: {error}") from error


def _version(command: Sequence[str], pattern: str) -> str:
    """First match in what a tool prints; tools print it to either stream, with any exit code."""
    done = _call(command, VERSION_TIMEOUT)
    found = re.search(pattern, (done.stdout + done.stderr).decode(errors="replace"))
    return f"{Path(command[0]).name} {found[0] if found else 'of unknown version'}"


def _made(command: Sequence[str], source: str, data: bytes, target: str) -> bytes:
    """The file `target` that a tool makes of the file `source` with these `data`; both are words of the command."""
    with tempfile.TemporaryDirectory(prefix="gancodec-") as folder:
        Path(folder, source).write_bytes(data)
        done = _call([str(Path(folder, word)) if word in (source, target) else word for word in command], TOOL_TIMEOUT)
        made = Path(folder, target)
        if done.returncode or not made.is_file():
            tail = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise GicError(f"{command[0]} failed ({done.returncode}): {tail[-1] if tail else 'no message, no file'}")
        return made.read_bytes()


def bpg() -> Peer:
    """BPG by bpgenc and bpgdec: x265 or JCTVC as built, 4:4:4, slowest."""
    _tool("bpg", "bpgenc", "bpgdec")

    def encode(rgb: Pixels, qp: float) -> bytes:
        png = io.BytesIO()
        Image.fromarray(rgb).save(png, "PNG")
        command = ["bpgenc", "-q", str(int(qp)), "-f", "444", "-m", "9", "-o", "out.bpg", "in.png"]
        return _made(command, "in.png", png.getvalue(), "out.bpg")

    def decode(data: bytes) -> Pixels:
        return _open(_made(["bpgdec", "-o", "out.png", "in.bpg"], "in.bpg", data, "out.png"))

    version, settings = _version(["bpgenc", "-h"], r"version [\w.]+"), (51, 49, 47, 45, 43, 41, 38, 35, 32)
    command = "bpgenc -q QP -f 444 -m 9"
    return Peer("bpg", ".bpg", "QP", _steps(51, 0, 52), settings, encode, decode, version, command)


def vvc() -> Peer:
    """VVC by vvencapp and vvdecapp: medium preset, perceptual QP adaptation, 4:2:0 in BT.601 full range."""
    _tool("vvc", "vvencapp", "vvdecapp")

    def encode(rgb: Pixels, qp: float) -> bytes:
        height, width = rgb.shape[:2]
        size = ["-s", f"{width + width % 2}x{height + height % 2}", "-c", "yuv420", "-r", "1", "-f", "1"]
        options = ["--preset", "medium", "-q", str(int(qp)), "--qpa", "1", "--internal-bitdepth", "10"]
        command = ["vvencapp", "-i", "in.yuv", *size, *options, "-o", "out.266"]
        # A raw stream has even sides only; the true ones are 8 bytes that count.
        return struct.pack(">II", width, height) + _made(command, "in.yuv", to_yuv420(rgb), "out.266")

    def decode(data: bytes) -> Pixels:
        width, height = struct.unpack_from(">II", data)
        command = ["vvdecapp", "-b", "in.266", "-o", "out.yuv", "-d", "8"]
        return from_yuv420(_made(command, "in.266", data[8:], "out.yuv"), width, height)

    version, settings = _version(["vvencapp", "--version"], r"version [\w.-]+"), (52, 47, 43, 39, 35, 31, 27)
    command = "vvencapp --preset medium -q QP --qpa 1 -c yuv420"
    return Peer("vvc", ".266", "QP", _steps(63, 0, 64), settings, encode, decode, version, command)


def to_yuv420(rgb: Pixels) -> bytes:
    """(H, W, 3) uint8 to planar 8-bit 4:2:0 (JPEG's matrix and range); odd sides are repeated."""
    height, width = rgb.shape[:2]
    even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    luma, *chroma = Image.fromarray(even).convert("YCbCr").split()
    halved = [plane.resize((plane.width // 2, plane.height // 2), Image.Resampling.BOX) for plane in chroma]
    return b"".join(plane.tobytes() for plane in (luma, *halved))


def from_yuv420(data: bytes, width: int, height: int) -> Pixels:
    """Undo `to_yuv420`; CorruptFile would be the tool's fault, so a wrong length is a plain GicError."""
    wide, high = width + width % 2, height + height % 2
    if len(data) != wide * high * 3 // 2:
        raise GicError(f"decoder wrote {len(data)} bytes for {wide}x{high} pixels")
    planes, start = [], 0
    for w, h in ((wide, high), (wide // 2, high // 2), (wide // 2, high // 2)):
        plane = Image.frombytes("L", (w, h), data[start : start + w * h])
        planes.append(plane.resize((wide, high), Image.Resampling.BILINEAR))
        start += w * h
    image = Image.merge("YCbCr", planes).convert("RGB")
    return np.ascontiguousarray(np.asarray(image)[:height, :width])


PEERS: dict[str, Callable[[], Peer]] = {make.__name__: make for make in (jpeg, webp, jp2, avif, jxl, heic, bpg, vvc)}
