"""Pictures of 100 and 12 megapixels beside one of 2: seconds per megapixel and peak memory, from file to file on two
cores. Writes build/bench/large.jsonl.

Each case runs in a process of its own that has loaded libraries and weights with a small picture before. The bounds:
100 megapixels within 2 GB (2 * 10**9 bytes), at most 1.3 times the seconds per megapixel of 2 megapixels in the same
run. All pictures are cut from one mosaic of photographs, saved as PNG.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_codec import CORES, Record, machine, peak_mib, photograph

OUTPUT = Path("build/bench/large.jsonl")
SIZES = {"2MP": (1920, 1080), "12MP": (4000, 3000), "100MP": (10000, 10000)}
RATE = 0.1
# What is asked of `encode` or `decode`, by case.
CASES: dict[str, list[str]] = {
    "encode": ["encode", "--n", "0"],
    "encode-bpp": ["encode", "--bpp", str(RATE)],
    "decode": ["decode"],
    "decode-region": ["decode", "--region", "700,500,512,512"],
    "decode-eighth": ["decode", "--scale", "1/8"],
}
REPEATS = {"2MP": 5, "12MP": 2, "100MP": 1}
MOST_MIB, MOST_RATIO = 2e9 / (1 << 20), 1.3
BOUNDED = ("encode", "encode-bpp", "decode")


def worker(case: str, folder: Path, size: str, model: list[str]) -> Record:
    """Measure one case in this process: median seconds of a command, and the peak memory of it all."""
    command, *options = CASES[case]
    options += model if command == "encode" else []
    source = folder / (f"{size}.png" if command == "encode" else f"{size}.gic")
    warm_up = folder / ("small.png" if command == "encode" else "small.gic")
    target = folder / f"{size}-{case}{'.gic' if command == 'encode' else '.png'}"
    plain = [part for part in options if not part.startswith("--region") and "," not in part]
    command_line([command, str(warm_up), "-o", str(folder / f"out{target.suffix}"), "-qf", *plain])
    times = []
    for _ in range(REPEATS[size]):
        started = time.perf_counter()
        command_line([command, str(source), "-o", str(target), "-qf", *options])
        times.append(time.perf_counter() - started)
    return {"seconds": sorted(times)[len(times) // 2], "peak_mib": peak_mib(), "bytes": target.stat().st_size}


def command_line(arguments: list[str]) -> None:
    """Run the tool in this process."""
    from gancodec.cli import app

    try:
        app.main(arguments)
    except SystemExit as stopped:
        if stopped.code:
            raise


def child(case: str, folder: Path, size: str, model: list[str]) -> Record:
    """Run `worker` in a fresh process with two threads."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(CORES))
    command = [sys.executable, __file__, "--worker", case, "--folder", str(folder), "--size", size, *model]
    ran = subprocess.run(command, env={**os.environ, **threads}, stdout=subprocess.PIPE, check=True)
    result: Record = json.loads(ran.stdout)
    return result


def prepare(folder: Path, model: list[str]) -> None:
    """The pictures, and files of them to decode."""
    whole = photograph(SIZES["100MP"])
    whole.save(folder / "100MP.png", compress_level=1)
    for size in ("2MP", "12MP"):
        whole.crop((0, 0, *SIZES[size])).save(folder / f"{size}.png", compress_level=1)
    whole.crop((0, 0, 256, 256)).save(folder / "small.png")
    for name in ("small", *SIZES):
        subprocess.run(
            [sys.executable, "-m", "gancodec", "encode", str(folder / f"{name}.png"), "--bpp", str(RATE), "-q", *model],
            check=True,
        )


def run(folder: Path, model: list[str]) -> tuple[list[Record], bool]:
    """All cases, printed; the records, and whether the bounds are kept."""
    prepare(folder, model)
    about, lines, kept = machine(), [], True
    for case in CASES:
        found = {size: child(case, folder, size, model) for size in SIZES}
        cost = {size: found[size]["seconds"] * 1e6 / (w * h) for size, (w, h) in SIZES.items()}
        ratio, peak = cost["100MP"] / cost["2MP"], found["100MP"]["peak_mib"]
        kept &= case not in BOUNDED or (ratio <= MOST_RATIO and peak <= MOST_MIB)
        for size, record in found.items():
            lines.append(
                {"benchmark": "large", "model": model, "case": case, "size": size, **record, "ratio": ratio, **about}
            )
        told = "   ".join(f"{size} {r['seconds']:7.2f} s {r['peak_mib']:5.0f} MiB" for size, r in found.items())
        print(f"{case:14} {told}   {ratio:.2f}x a megapixel", flush=True)
    return lines, kept


def main() -> int:
    """Run all, 1 where a bound is broken; or (`--worker`) one process of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=SIZES, help=argparse.SUPPRESS)
    parser.add_argument("--model", help="not the default one")
    options = parser.parse_args()
    model = ["--model", options.model] if options.model else []
    if options.worker:
        print(json.dumps(worker(options.worker, options.folder, options.size, model)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        lines, kept = run(Path(folder), model)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
