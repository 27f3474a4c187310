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

from gancodec.errors import GicError, MissingExtra, UsageError
from gancodec.evaluate.contract import Peer, Pixels

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


def _open(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.ascontiguousarray(np.asarray(image.convert("RGB")))


def _saver(format: str, options: Callable[[float], dict[str, Any]]) -> Callable[[Pixels, float], bytes]:
    def encode(rgb: Pixels, setting: float) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, format, **options(setting))
        return buffer.getvalue()

    return encode


def _pillow(feature: str, name: str) -> str:
    """Version of a library inside Pillow; an error that says so where this build lacks it."""
    if not features.check(feature):
        raise UsageError(f"codec {name}: this build of Pillow comes without it")
    return f"{feature} {features.version(feature)}, Pillow {__version__}"


def _plugin(package: str, module: str, name: str) -> str:
    try:
        imported = __import__(module)
    except ImportError as error:
        raise MissingExtra(f"codec {name}", "peers") from error
    if name == "heic":
        imported.register_heif_opener()
    return f"{package} {metadata.version(package)}"


def jpeg_tables(quality: float) -> list[list[int]]:
    """libjpeg's quantisation tables, for a quality in 1 .. 100 that need not be whole: between its whole numbers."""
    below = int(quality)
    low, high = (5000 // q if q < 50 else 200 - 2 * q for q in (below, min(below + 1, 100)))
    scale = low + (high - low) * (quality - below)
    return [[min(max(int((v * scale + 50) // 100), 1), 255) for v in table] for table in (LUMA, CHROMA)]


def jpeg() -> Peer:
    """libjpeg-turbo: progressive, optimised, 4:2:0."""
    options = {"progressive": True, "optimize": True, "subsampling": "4:2:0"}
    return Peer(
        name="jpeg",
        suffix=".jpg",
        unit="quality",
        ladder=_steps(1, 100, 991),
        settings=(1, 3, 5, 8, 11, 15, 20, 27, 36, 50),
        encode=_saver("JPEG", lambda quality: {"qtables": jpeg_tables(quality), **options}),
        decode=_open,
        version=_pillow("libjpeg_turbo", "jpeg"),
        command="Image.save(format='JPEG', quality=Q, progressive=True, optimize=True, subsampling='4:2:0')",
    )


def webp() -> Peer:
    """libwebp, method 6."""
    return Peer(
        name="webp",
        suffix=".webp",
        unit="quality",
        ladder=_steps(0, 100, 2001),
        settings=(0, 0.1, 0.5, 1.2, 2.5, 5, 10, 18, 28, 43, 60),
        encode=_saver("WEBP", lambda quality: {"quality": quality, "method": 6}),
        decode=_open,
        version=_pillow("webp", "webp"),
        command="Image.save(format='WEBP', quality=Q, method=6)",
    )


def jp2() -> Peer:
    """OpenJPEG: one layer at a rate, irreversible, bare codestream (85 bytes less than in a .jp2 file)."""
    ladder = [round(float(v), 5) for v in np.geomspace(0.004, 16, 1600)]

    def options(bpp: float) -> dict[str, Any]:
        layers = [24 / bpp]
        return {"quality_mode": "rates", "quality_layers": layers, "irreversible": True, "mct": 1, "no_jp2": True}

    return Peer(
        name="jp2",
        suffix=".j2k",
        unit="bpp asked",
        ladder=ladder,
        settings=(0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1),
        encode=_saver("JPEG2000", options),
        decode=_open,
        version=_pillow("jpg_2000", "jp2"),
        command="Image.save(format='JPEG2000', quality_mode='rates', quality_layers=[24 / BPP], irreversible=True, "
        "mct=1, no_jp2=True)",
    )


def avif() -> Peer:
    """libaom through libavif: speed 6, 4:2:0, one thread (with more, libavif makes tiles and larger files)."""
    return Peer(
        name="avif",
        suffix=".avif",
        unit="quality",
        ladder=_steps(0, 100, 101),
        settings=(0, 5, 11, 18, 26, 36, 49, 60, 70),
        encode=_saver("AVIF", lambda quality: {"quality": int(quality), "speed": 6, "max_threads": 1}),
        decode=_open,
        version=_pillow("avif", "avif"),
        command="Image.save(format='AVIF', quality=Q, speed=6, max_threads=1)",
    )


def jxl() -> Peer:
    """libjxl, effort 7. The plugin's lowest quality is distance 15."""
    return Peer(
        name="jxl",
        suffix=".jxl",
        unit="quality",
        ladder=_steps(0, 99, 991),
        settings=(0, 3, 7, 15, 25, 40, 55, 70, 80),
        encode=_saver("JXL", lambda quality: {"quality": quality, "effort": 7, "num_threads": 1}),
        decode=_open,
        version=_plugin("pillow-jxl-plugin", "pillow_jxl", "jxl"),
        command="Image.save(format='JXL', quality=Q, effort=7, num_threads=1)",
    )


def heic() -> Peer:
    """x265 through libheif, 4:2:0."""
    return Peer(
        name="heic",
        suffix=".heic",
        unit="quality",
        ladder=_steps(0, 100, 101),
        settings=(0, 5, 10, 15, 21, 28, 36, 45, 55),
        encode=_saver("HEIF", lambda quality: {"quality": int(quality)}),
        decode=_open,
        version=_plugin("pillow-heif", "pillow_heif", "heic"),
        command="Image.save(format='HEIF', quality=Q)",
    )


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


def _run(command: Sequence[str], target: Path) -> bytes:
    """The file that a tool writes."""
    done = _call(command, TOOL_TIMEOUT)
    if done.returncode or not target.is_file():
        tail = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise GicError(f"{command[0]} failed ({done.returncode}): {tail[-1] if tail else 'no message, no file'}")
    return target.read_bytes()


def bpg() -> Peer:
    """BPG by bpgenc and bpgdec: x265 or JCTVC as built, 4:4:4, slowest."""
    _tool("bpg", "bpgenc", "bpgdec")

    def encode(rgb: Pixels, qp: float) -> bytes:
        with tempfile.TemporaryDirectory(prefix="gancodec-") as folder:
            source, target = Path(folder, "in.png"), Path(folder, "out.bpg")
            Image.fromarray(rgb).save(source)
            return _run(["bpgenc", "-q", str(int(qp)), "-f", "444", "-m", "9", "-o", str(target), str(source)], target)

    def decode(data: bytes) -> Pixels:
        with tempfile.TemporaryDirectory(prefix="gancodec-") as folder:
            source, target = Path(folder, "in.bpg"), Path(folder, "out.png")
            source.write_bytes(data)
            return _open(_run(["bpgdec", "-o", str(target), str(source)], target))

    return Peer(
        name="bpg",
        suffix=".bpg",
        unit="QP",
        ladder=_steps(51, 0, 52),
        settings=(51, 49, 47, 45, 43, 41, 38, 35, 32),
        encode=encode,
        decode=decode,
        version=_version(["bpgenc", "-h"], r"version [\w.]+"),
        command="bpgenc -q QP -f 444 -m 9",
    )


def vvc() -> Peer:
    """VVC by vvencapp and vvdecapp: medium preset, perceptual QP adaptation, 4:2:0 in BT.601 full range."""
    _tool("vvc", "vvencapp", "vvdecapp")

    def encode(rgb: Pixels, qp: float) -> bytes:
        height, width = rgb.shape[:2]
        with tempfile.TemporaryDirectory(prefix="gancodec-") as folder:
            source, target = Path(folder, "in.yuv"), Path(folder, "out.266")
            source.write_bytes(to_yuv420(rgb))
            size = ["-s", f"{width + width % 2}x{height + height % 2}", "-c", "yuv420", "-r", "1", "-f", "1"]
            options = ["--preset", "medium", "-q", str(int(qp)), "--qpa", "1", "--internal-bitdepth", "10"]
            stream = _run(["vvencapp", "-i", str(source), *size, *options, "-o", str(target)], target)
            # A raw stream has even sides only; the true ones are 8 bytes that count.
            return struct.pack(">II", width, height) + stream

    def decode(data: bytes) -> Pixels:
        width, height = struct.unpack_from(">II", data)
        with tempfile.TemporaryDirectory(prefix="gancodec-") as folder:
            source, target = Path(folder, "in.266"), Path(folder, "out.yuv")
            source.write_bytes(data[8:])
            decoded = _run(["vvdecapp", "-b", str(source), "-o", str(target), "-d", "8"], target)
            return from_yuv420(decoded, width, height)

    return Peer(
        name="vvc",
        suffix=".266",
        unit="QP",
        ladder=_steps(63, 0, 64),
        settings=(52, 47, 43, 39, 35, 31, 27),
        encode=encode,
        decode=decode,
        version=_version(["vvencapp", "--version"], r"version [\w.-]+"),
        command="vvencapp --preset medium -q QP --qpa 1 -c yuv420",
    )


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


PEERS: dict[str, Callable[[], Peer]] = {
    "jpeg": jpeg,
    "webp": webp,
    "jp2": jp2,
    "avif": avif,
    "jxl": jxl,
    "heic": heic,
    "bpg": bpg,
    "vvc": vvc,
}
