"""1,000 pictures of varied sizes, 2 % of them broken, through `gancodec encode`: throughput and memory by --jobs.

    python benchmarks/bench_batch.py                     # all of it; an idle machine with two cores
    python benchmarks/bench_batch.py --count 60          # a rehearsal

Sides are 64 to 1600 pixels, PNG, JPEG and WebP mixed; crops of the photographs in --photos, or where there are none of
scikit-image's. Each case is the command itself in a process of its own, timed from start to end, model loading
included. Memory is the resident set of each worker, read every 0.1 s; `first` and `last` are means over the time in
which the first and the last 100 (a tenth, where there are fewer than 1,000) lines of the manifest were written. A case
that is done is not run again: results are appended to build/bench/batch.jsonl, and --fresh forgets them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench_codec import machine
from PIL import Image

WORK = Path("build/bench/batch")
OUTPUT = Path("build/bench/batch.jsonl")
CASES = {
    "1 worker, 1 thread": ("--jobs", "1", "--threads", "1"),
    "1 worker, all threads": ("--jobs", "1"),
    "2 workers": ("--jobs", "2"),
}
BROKEN = ("empty", "text", "cut", "flipped", "header")
SHARE = 0.02
SUFFIXES = (".png", ".jpg", ".webp")
SMALLEST, LARGEST = 64, 1600
BPP = "0.1"
INTERVAL = 0.1
Record = dict[str, Any]


def photographs(folder: Path) -> list[Image.Image]:
    """RGB pictures to cut from."""
    paths = sorted(folder.glob("*.png")) if folder.is_dir() else []
    if paths:
        return [Image.open(path).convert("RGB") for path in paths]
    from skimage import data

    return [Image.fromarray(getattr(data, name)()[..., :3]) for name in ("astronaut", "coffee", "chelsea", "rocket")]


def make(folder: Path, count: int, photos: list[Image.Image]) -> set[str]:
    """Write the pictures (those that are there stay); names of the broken ones."""
    rng = random.Random(count)
    folder.mkdir(parents=True, exist_ok=True)
    broken = set(rng.sample(range(count), round(SHARE * count)))
    names = set()
    for number in range(count):
        width, height = (round(SMALLEST * (LARGEST / SMALLEST) ** rng.random()) for _ in range(2))
        suffix, photo = rng.choice(SUFFIXES), rng.choice(photos)
        damage = rng.choice(BROKEN)
        path = folder / f"{number:06d}{suffix}"
        if number in broken:
            names.add(path.name)
        if path.exists():
            continue
        scale = max(width / photo.width, height / photo.height, 1.0)
        large = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
        left, top = rng.randint(0, large.width - width), rng.randint(0, large.height - height)
        large.crop((left, top, left + width, top + height)).save(path, quality=90)
        if number in broken:
            path.write_bytes(_damaged(path.read_bytes(), damage))
    return names


def _damaged(data: bytes, how: str) -> bytes:
    """Bytes that no longer are a picture."""
    ways = {
        "empty": b"",
        "text": b"this is no picture\n",
        "cut": data[: len(data) // 3],
        "flipped": data[:8] + bytes(255 - b for b in data[8:]),
        "header": bytes(16) + data[16:],
    }
    return ways[how]


def tree(process: int) -> dict[int, int]:
    """Resident bytes of a process and of what it started, by process number."""
    found, page = {}, os.sysconf("SC_PAGE_SIZE")
    queue = [process]
    while queue:
        number = queue.pop()
        try:
            found[number] = int(Path(f"/proc/{number}/statm").read_text().split()[1]) * page
            queue += map(int, Path(f"/proc/{number}/task/{number}/children").read_text().split())
        except (OSError, ValueError):  # it has just ended
            found.pop(number, None)
    return found


def run(words: tuple[str, ...], folder: Path, out: Path, count: int, broken: set[str]) -> Record:
    """One case: the command, watched until it ends."""
    shutil.rmtree(out, ignore_errors=True)
    log = out / "manifest.jsonl"
    command = [sys.executable, "-m", "gancodec", "encode", folder, "-d", out, "--bpp", BPP, "--manifest", log, "-q"]
    samples: list[tuple[int, dict[int, int]]] = []
    started = time.perf_counter()
    with subprocess.Popen([*map(str, command), *words], stderr=subprocess.DEVNULL) as child:
        while child.poll() is None:
            samples.append((_lines(log), tree(child.pid)))
            time.sleep(INTERVAL)
        seconds = time.perf_counter() - started
    records = [json.loads(line) for line in log.read_text().splitlines()]
    failed = {Path(record["file"]).name for record in records if "error" in record}
    return {
        "seconds": seconds,
        "pictures_per_s": count / seconds,
        "megapixels_per_s": sum(r.get("width", 0) * r.get("height", 0) for r in records) / 1e6 / seconds,
        "code": child.returncode,
        "lines": len(records),
        "broken": len(broken),
        "failed_as_expected": failed == broken,
        "memory_mib": _memory(samples, count, 100 if count >= 1000 else count // 10),
    }


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def _memory(samples: list[tuple[int, dict[int, int]]], count: int, part: int) -> dict[str, dict[str, float]]:
    """First, last and greatest resident MiB of each process that is no mere helper (above 100 MiB)."""
    found = {}
    for process in sorted({number for _, sizes in samples for number in sizes}):
        mine = [(lines, sizes[process] / 2**20) for lines, sizes in samples if process in sizes]
        first = [size for lines, size in mine if 0 < lines <= part]
        last = [size for lines, size in mine if count - part <= lines < count]
        most = max(size for _, size in mine)
        if most > 100 and first and last:
            found[str(process)] = {"first": statistics.mean(first), "last": statistics.mean(last), "most": most}
    return found


def show(results: dict[str, Record]) -> None:
    """The table, and the ratios that it is about."""
    print(f"{'':22} {'s':>8} {'pict/s':>7} {'MP/s':>6} {'exit':>4} {'failures':>8}  MiB first/last/most of each worker")
    for name, r in results.items():
        memory = "  ".join("/".join(f"{m[k]:.0f}" for k in ("first", "last", "most")) for m in r["memory_mib"].values())
        told = "right" if r["failed_as_expected"] else "WRONG"
        print(
            f"{name:22} {r['seconds']:8.1f} {r['pictures_per_s']:7.2f} {r['megapixels_per_s']:6.2f} {r['code']:4} "
            f"{told:>8}  {memory}"
        )
    last = results.get("2 workers")
    for name, r in results.items():
        if last is not None and r is not last:
            print(f"2 workers against {name}: {r['seconds'] / last['seconds']:.2f}x")


def main() -> int:
    """Make the pictures, run the cases that have no result yet, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="pictures")
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/kodak"), help="folder of PNG photographs")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    options = parser.parse_args()
    if options.fresh:
        shutil.rmtree(WORK, ignore_errors=True)
        OUTPUT.unlink(missing_ok=True)
    folder = WORK / f"in-{options.count}"
    broken = make(folder, options.count, photographs(options.photos))
    about = machine()
    key = {"benchmark": "batch", "count": options.count, "commit": about["commit"], "model": about["model"]}
    earlier = [json.loads(line) for line in OUTPUT.read_text().splitlines()] if OUTPUT.exists() else []
    results = {r["case"]: r for r in earlier if all(r.get(name) == value for name, value in key.items())}
    for name, words in CASES.items():
        if name not in results:
            results[name] = {**about, **run(words, folder, WORK / "out", options.count, broken), **key, "case": name}
            with open(OUTPUT, "a", encoding="utf-8") as handle:
                handle.write(json.dumps(results[name]) + "\n")
    show({name: results[name] for name in CASES})
    right = all(r["failed_as_expected"] and r["code"] == 1 and r["lines"] == options.count for r in results.values())
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
