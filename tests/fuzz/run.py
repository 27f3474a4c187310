"""Fuzz a target with atheris, guided by the coverage of gancodec and of Pillow's Python.

python -m tests.fuzz.run TARGET --minutes 30 --corpus DIR

DIR/corpus grows, DIR/findings gets an input and a traceback for each new way of failing. The fuzzer runs in a process
of its own, for what kills it (a crash in native code, or libFuzzer's limits on time and memory) ends that process
only: it is started again until the time is over. Exits with 1 where there are findings.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

# The targets have their own bounds in processor time; these are for what never returns.
LIBFUZZER = ("-timeout=120", "-report_slow_units=120", "-rss_limit_mb=3072", "-print_final_stats=1")
MAX_BYTES = 4096
NAMES = ("container", "level_map", "latents", "planes", "tiles", "metadata", "pictures", "split", "slices", "partial")


def main() -> int:
    """Parse, run until the time is over, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--corpus", type=Path, help="folder; else build/fuzz/TARGET")
    parser.add_argument("--seconds", type=int, help=argparse.SUPPRESS)  # of the inner process
    asked = parser.parse_args()
    folder = asked.corpus or Path("build/fuzz") / asked.target
    for name in ("corpus", "findings"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if asked.seconds is not None:
        fuzz(asked.target, folder, asked.seconds)
    return supervise(asked.target, folder, 60 * asked.minutes)


def supervise(target: str, folder: Path, seconds: float) -> int:
    """Run the fuzzer until `seconds` are over; returns the exit code."""
    runs, end = 0, time.monotonic() + seconds
    while (left := int(end - time.monotonic())) > 0:
        command = [sys.executable, "-m", "tests.fuzz.run", target, "--corpus", str(folder), "--seconds", str(left)]
        started = time.monotonic()
        with open(folder / "log", "w+") as log:
            code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
            log.seek(0)
            text = log.read()
        counts = re.findall(r"^#(\d+)|number_of_executed_units: (\d+)", text, re.MULTILINE)
        runs += max((int(a or b) for a, b in counts), default=0)
        if code and time.monotonic() - started < 20:  # nothing that was found by trying
            print(text[-3000:], file=sys.stderr)
            return 2
    findings = sorted(p.name for p in (folder / "findings").iterdir() if not p.name.endswith(".txt"))
    print(f"{target}: {runs} executions in {seconds / 60:g} min, {len(findings)} findings in {folder / 'findings'}")
    for name in findings:
        print(f"  {name}")
    return 1 if findings else 0


def fuzz(target: str, folder: Path, seconds: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["gancodec", "PIL"], exclude=["gancodec.train", "gancodec.models"]):
        from tests.fuzz import seeds, targets
    place = Path(tempfile.mkdtemp())
    os.environ["GANCODEC_WEIGHTS"] = str(place)
    targets.prepare(place)
    warnings.simplefilter("error")  # as the tests have it
    for data in (*seeds.seeds(target), *(path.read_bytes() for path in seeds.kept(target))):
        (folder / "corpus" / hashlib.sha1(data).hexdigest()).write_bytes(data)
    seen = {path.name.rsplit("-", 1)[0] for path in (folder / "findings").iterdir()}

    def one(data: bytes) -> None:
        try:
            targets.check(target, data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of constriction's Rust core is no Exception
            keep(folder / "findings", seen, data, error)

    limits = (f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-artifact_prefix={folder / 'findings'}/")
    atheris.Setup([sys.argv[0], *LIBFUZZER, *limits, str(folder / "corpus")], one)
    atheris.Fuzz()


def keep(folder: Path, seen: set[str], data: bytes, error: BaseException) -> None:
    """Store the first input of each way of failing: by error and the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    name = f"{type(error).__name__}-{Path(last.filename).stem}-{last.lineno}"
    if name in seen:
        return
    seen.add(name)
    path = folder / f"{name}-{hashlib.sha1(data).hexdigest()[:8]}"
    path.write_bytes(data)
    path.with_name(f"{path.name}.txt").write_text("".join(traceback.format_exception(error)))


if __name__ == "__main__":
    sys.exit(main())
