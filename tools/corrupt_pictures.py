"""Random corruptions of pictures in every format that is read: each must end as a picture or as one clean error.

python -m tools.corrupt_pictures --number 10000

Sound files (tests/fuzz/pictures.py) are damaged with regard to their structure (tests/fuzz/structure.py) and read as
`encode` reads them; some go on through the codec of a tiny model, some through the command line. A fault is any other
exception, an error of several lines, output of native libraries, a warning, a file left behind, much time or memory, a
crash, no end. Counts by format; inputs at fault go to a folder, by number (`--only` tries one again). Exits with 1
where there are any.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from gancodec import weights
from gancodec.codec import EncodeOptions, decode_bytes, encode_picture
from tests import commands
from tests.fuzz import bounds, targets
from tests.fuzz.pictures import sound
from tests.fuzz.structure import corrupted_picture

MIB = 64  # that an input may take
LARGE = 1 << 24  # pixels that may be stated where that is tried,
LARGE_MIB = MIB + 192  # with 12 bytes each
SILENCE, GRACE = 60.0, 5.0  # seconds without an answer after which a process hangs, and those that its end may take
ADDRESS_SPACE = 6 << 30  # bytes
STATED, CODED, COMMANDED = 20, 50, 250  # one of so many may state LARGE, is coded, goes through the command line
PICTURE, REFUSED = "picture", "refused"


class Input(NamedTuple):
    """A damaged file: its number, the format that it was of, and its bytes."""

    number: int
    format: str
    data: bytes


class Maker:
    """Makes inputs by number, in any order."""

    def __init__(self, seed: int) -> None:
        self._seed, self._files = seed, defaultdict(list)
        for format, data in sound():
            self._files[format].append(data)

    def __call__(self, number: int) -> Input:
        """All formats alike, whatever number of sound files there is of each."""
        rng = np.random.default_rng((self._seed, number))
        format = sorted(self._files)[number % len(self._files)]
        files = self._files[format]
        return Input(number, format, corrupted_picture(files[rng.integers(len(files))], rng))


def examine(source: bytes | Path, coded: bool = False, large: bool = False) -> str:
    """How the reading of a file ends: PICTURE, REFUSED, or the fault in words."""
    mib, pixels = (LARGE_MIB, LARGE) if large else (MIB, bounds.PIXELS)
    said: list[str] = []
    result = ""
    with _heard(said):
        try:
            picture = bounds.within(mib, targets.loaded, source, pixels)
            result = REFUSED if picture is None else PICTURE
            if picture is not None and coded:
                back = decode_bytes(encode_picture(picture, EncodeOptions(n=0.0)).data)
                assert back.rgb.shape == picture.rgb.shape, "coded as another size"
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
    return f"output: {said[0].strip()}" if said else result


@contextlib.contextmanager
def _heard(said: list[str]) -> Iterator[None]:
    """What is written to standard output and error, by native code too, goes to `said`; warnings as well."""
    python = io.StringIO()
    with tempfile.TemporaryFile() as file, contextlib.ExitStack() as stack:
        for number in (1, 2):
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            os.dup2(file.fileno(), number)
        stack.enter_context(contextlib.redirect_stdout(python))
        stack.enter_context(contextlib.redirect_stderr(python))
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        yield
        file.seek(0)
        parts = [file.read().decode(errors="replace"), python.getvalue(), *(str(warning.message) for warning in caught)]
        if any(parts):
            said.append(" ".join(parts))


def supervise(seed: int, numbers: range) -> Iterator[tuple[int, str]]:
    """Numbers of inputs and how they end. They are examined in a process of its own, which is started again behind an
    input that ends it."""
    while numbers:
        command = [sys.executable, "-m", "tools.corrupt_pictures", "--seed", str(seed), "--inner"]
        command += [str(numbers.start), str(numbers.stop)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            answers = _answers(process.stdout)
            ready = next(answers, None)
            for number, ended in answers:
                yield number, ended
                numbers = range(number + 1, numbers.stop)
            try:
                how = f"ended its process with {process.wait(GRACE)}"
            except subprocess.TimeoutExpired:
                how = "no end"
                process.kill()
            said = process.stderr.read().decode(errors="replace").strip()
        if ready is None:
            raise SystemExit(f"no input is examined: {said}")
        if numbers:
            yield numbers.start, f"{how} {said[-200:]}"
            numbers = numbers[1:]


def _answers(stream: IO[bytes]) -> Iterator[tuple[int, str]]:
    """What `work` tells; ends with it, or where it tells nothing for long."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(SILENCE) and (line := stream.readline()):
            number, ended = json.loads(line)
            yield number, ended


def work(seed: int, numbers: range) -> None:
    """What `supervise` starts: examine, and tell each outcome in a line."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE,) * 2)
    made = Maker(seed)
    with tempfile.TemporaryDirectory() as place, os.fdopen(os.dup(1), "w") as answers:
        models, empty, file = (Path(place) / name for name in ("models", "empty", "picture"))
        models.mkdir()
        empty.mkdir()
        os.environ[weights.ENVIRONMENT], tempfile.tempdir = str(models), str(empty)
        targets.prepare(models)
        print(json.dumps((-1, "ready")), file=answers, flush=True)
        for number in numbers:
            data = made(number).data
            file.write_bytes(data)  # Pillow maps files, but no streams, into memory
            ended = examine(file if number % 2 else data, number % CODED == 0, number % STATED == 1)
            left = os.listdir(empty)
            print(json.dumps((number, f"left behind: {left}" if left else ended)), file=answers, flush=True)


def commanded(inputs: Iterable[Input]) -> Iterator[tuple[int, str]]:
    """Numbers and faults of inputs that the command line encodes, with the codec that needs no model."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = {made.number: folder / f"{made.number}.{made.format.lower()}" for made in inputs}
        for made in inputs:
            paths[made.number].write_bytes(made.data)
        how = ("--profile", "split", "--roi-box", "0,0,9,9", "--max-pixels", LARGE)
        ran = commands.in_one_process(("encode", path, "-o", f"{path}.gic", *how) for path in paths.values())
        for (number, path), ended in zip(paths.items(), ran, strict=True):
            lines = ended.err.splitlines()
            written = Path(f"{path}.gic").exists()
            right = ended.code == 0 and written or ended.code in (2, 3) and not written and len(lines) == 1
            clean = not ended.out and all(line.isprintable() for line in lines)
            if not (right and clean and ended.seconds < commands.SECONDS and ended.peak < commands.MIB):
                yield number, f"command line: {ended}"
        if extra := {path.name for path in folder.iterdir() if path.suffix != ".gic"} - {
            p.name for p in paths.values()
        }:
            yield min(paths), f"command line: left behind: {extra}"


def main() -> int:
    """Damage, read, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one input, by its number")
    parser.add_argument(
        "--faults", type=Path, default=Path("build/corrupt_pictures"), help="folder for inputs at fault"
    )
    parser.add_argument("--inner", type=int, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inner:
        work(asked.seed, range(*asked.inner))
        return 0
    numbers = range(asked.number) if asked.only is None else range(asked.only, asked.only + 1)
    made, counts = Maker(asked.seed), defaultdict[str, Counter[str]](Counter)
    outcomes = dict(supervise(asked.seed, numbers)) | dict(commanded([made(n) for n in numbers[::COMMANDED]]))
    for number, ended in outcomes.items():
        found = made(number)
        counts[found.format][ended if ended in (PICTURE, REFUSED) else "faults"] += 1
        if ended not in (PICTURE, REFUSED):
            asked.faults.mkdir(parents=True, exist_ok=True)
            path = asked.faults / f"{asked.seed}-{number}.{found.format.lower()}"
            path.write_bytes(found.data)
            print(f"{path}: {ended}")
    for format, count in sorted(counts.items()):
        print(f"{format:5} {dict(sorted(count.items()))}")
    total = sum(counts.values(), Counter[str]())
    print(f"{sum(total.values())} corruptions: {dict(sorted(total.items()))}")
    return 1 if total["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
