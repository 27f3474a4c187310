"""Encode and decode: seconds and peak memory at 768x512 and 12 megapixels on two cores. Writes build/bench/codec.jsonl.

Each case runs in a process of its own, so that its peak memory is its own. Seconds are medians once libraries and
weights are loaded; `first_seconds` is the first picture of a process and pays for loading. `base_mib` is the peak
before the codec was asked for anything. Ratios are to AVIF and WebP of Pillow in the same run, which coded the same
picture to the same size in bytes, as near as their quality steps allow.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from bench_startup import commit
from PIL import Image, features

OUTPUT = Path("build/bench/codec.jsonl")
SIZES = {"768x512": (768, 512), "12MP": (4000, 3000)}
CASES = ("encode", "encode-huffman", "encode-bpp", "decode", "decode-huffman", "verify")
REFERENCES = {"AVIF": {"speed": 6}, "WEBP": {"method": 4}}
TARGET_BPP = 0.1
REPEATS, BUDGET = 5, 60.0  # runs, or as many as start within this many seconds
CORES = 2
Record = dict[str, Any]


def photograph(size: tuple[int, int]) -> Image.Image:
    """A mosaic of scikit-image's photographs, enlarged to the grain of a camera picture; the same on every machine."""
    from skimage import data

    photos = [Image.fromarray(getattr(data, name)()[..., :3]) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    tile = 768
    canvas = Image.new("RGB", size)
    for i, top in enumerate(range(0, size[1], tile)):
        for j, left in enumerate(range(0, size[0], tile)):
            photo = photos[(i * 3 + j) % len(photos)].resize((tile, tile), Image.Resampling.LANCZOS)
            canvas.paste(photo.rotate(90 * ((i + j) % 4)), (left, top))
    return canvas


def median_seconds(work: Callable[[], object]) -> tuple[float, int]:
    """Median wall time of repeated runs, and how many there were."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < REPEATS and (not times or time.perf_counter() - begun < BUDGET):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times), len(times)


def peak_mib() -> float:
    """Peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)


def worker(case: str, source: Path, size: tuple[int, int]) -> Record:
    """Measure one case in this process."""
    import torch

    from gancodec.codec import EncodeOptions, decode_bytes, encode_picture, read_symbols
    from gancodec.imageio import from_image

    torch.set_num_threads(CORES)
    base = peak_mib()
    kind, _, how = case.partition("-")
    record: Record = {}
    if kind == "encode":
        picture = from_image(photograph(size))
        base = peak_mib()
        options = EncodeOptions(bpp=TARGET_BPP) if how == "bpp" else EncodeOptions(n=0.0, entropy=how or "range")

        def work() -> object:
            nonlocal record
            encoded = encode_picture(picture, options)
            record = {"bytes": len(encoded.data), "bpp": encoded.bpp, "probes": encoded.probes, "hit": encoded.hit}
            return source.write_bytes(encoded.data)
    else:
        data = source.read_bytes()

        def work() -> object:
            return decode_bytes(data) if kind == "decode" else read_symbols(data)

    started = time.perf_counter()
    work()
    first = time.perf_counter() - started
    seconds, runs = median_seconds(work) if first < BUDGET else (first, 1)
    times = {"seconds": seconds, "runs": runs, "first_seconds": first}
    return {**record, **times, "peak_mib": peak_mib(), "base_mib": base}


def reference(name: str, size: tuple[int, int], target: int) -> Record:
    """Encode and decode with Pillow's own codec, at the quality whose size is nearest to `target` bytes."""
    image = photograph(size)
    small = image.crop((0, 0, 768, 512))
    share = target * small.width * small.height / (size[0] * size[1])

    def encode(what: Image.Image, quality: int) -> bytes:
        stream = io.BytesIO()
        what.save(stream, name, quality=quality, **REFERENCES[name])
        return stream.getvalue()

    quality = min(range(2, 90, 8), key=lambda q: abs(len(encode(small, q)) - share))
    data = encode(image, quality)
    write, _ = median_seconds(lambda: encode(image, quality))
    read, _ = median_seconds(lambda: np.asarray(Image.open(io.BytesIO(data))))
    return {"quality": quality, "bytes": len(data), "encode": write, "decode": read, **REFERENCES[name]}


def child(*arguments: str) -> Record:
    """Run this file in a fresh process with two threads."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(CORES))
    ran = subprocess.run(
        [sys.executable, __file__, *arguments], env={**os.environ, **threads}, stdout=subprocess.PIPE, check=True
    )
    result: Record = json.loads(ran.stdout)
    return result


def machine() -> Record:
    """Where and with what this ran."""
    import torch

    from gancodec import __version__, weights

    cpu = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), "")
    model = weights.find(None)
    return {
        "commit": commit(),
        "version": __version__,
        "model": f"{model.name} {model.sha256[:12]}",
        "cpu": cpu or platform.processor(),
        "cores": os.cpu_count(),
        "threads": CORES,
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "pillow": PIL.__version__,
        "libavif": features.version("avif"),
        "libwebp": features.version("webp"),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def run(names: list[str], lines: list[Record]) -> None:
    """All cases of the sizes named; records are appended to `lines` and printed."""
    about = machine()
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            files = {how: str(Path(folder) / f"{name}-{how}.gic") for how in ("", "huffman", "bpp")}
            measured = {}
            for case in CASES:
                measured[case] = child("--worker", case, "--size", name, "--file", files[case.partition("-")[2]])
            against = {
                codec: child("--reference", codec, "--size", name, "--bytes", str(measured["encode"]["bytes"]))
                for codec in REFERENCES
                if features.check(codec.lower())
            }
            for case, record in measured.items():
                side = "encode" if case.startswith("encode") else "decode"
                ratios = {codec: round(record["seconds"] / other[side], 2) for codec, other in against.items()}
                lines.append({"benchmark": "codec", "case": case, "size": name, **record, "ratio": ratios, **about})
                print(
                    f"{name:8} {case:15} {record['seconds']:8.3f} s  {record['peak_mib']:7.0f} MiB  first "
                    f"{record['first_seconds']:7.2f} s  " + "  ".join(f"{v:g}x {k}" for k, v in ratios.items()),
                    flush=True,
                )
            lines.extend(
                {"benchmark": "reference", "case": codec, "size": name, **record, **about}
                for codec, record in against.items()
            )


def main() -> int:
    """Run all, or (`--worker`, `--reference`) one process of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=[*SIZES], action="append", help="only this size")
    parser.add_argument("--worker", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--reference", choices=[*REFERENCES], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--bytes", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.size or list(SIZES)
    if options.worker:
        print(json.dumps(worker(options.worker, options.file, SIZES[names[0]])))
        return 0
    if options.reference:
        print(json.dumps(reference(options.reference, SIZES[names[0]], options.bytes)))
        return 0
    lines: list[Record] = []
    run(names, lines)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
