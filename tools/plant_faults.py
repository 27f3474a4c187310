"""Do the tests notice faults? Plants one after the other in a copy of the checkout and runs the tests that should fail.

`python tools/plant_faults.py` plants all of `FAULTS`, `python tools/plant_faults.py NAME...` some, `--list` shows what
there is, `--checkout FOLDER` takes another checkout. A line for each fault says

    caught     a test failed, as it should
    survived   every test passed: nobody would notice
    not found  its code is not there exactly once, so it was not planted: reword it here
    no tests   none of its tests is there by this name
    broken     pytest ran no test, or not to its end: what is planted is no fault but nonsense

Exit code 0 where all are caught, else 1. Nothing is planted where the tests fail without any fault.

A fault is found by its code alone, wherever in the package that is: line breaks and indentation do not count, and code
that may be written in several ways has several pairs, of which the first that is found is planted. Tests are found by
the name of their function too, in the file that is named or, where it holds no such test, in any other.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE, TESTS = "gancodec", "tests"
LEFT_OUT = (".*", "__pycache__", "build", "dist")  # of the copy
PATIENCE = 300  # seconds that the tests of one fault may take
OUTCOMES = {0: "survived", 1: "caught", 4: "no tests", 5: "no tests"}  # by pytest's exit code
MOST_LINES = 30  # of what pytest said


class Fault(NamedTuple):
    """`changes` are pairs of code and what takes its place; `tests` are words ``file::function``."""

    name: str
    changes: tuple[tuple[str, str], ...]
    tests: str


class Place(NamedTuple):
    """A file of the copy with the span of what is replaced, and by what."""

    path: Path
    start: int
    end: int
    text: str


CONTAINER = (
    Fault(
        "varint-of-128",
        (("while value >= 0x80:", "while value > 0x80:"),),
        "test_container.py::test_varint",
    ),
    Fault(
        "padded-varint-accepted",
        (("byte == 0 and shift > 7", "byte == 0 and shift > 14"),),
        "test_container.py::test_bad_varint",
    ),
    Fault(
        "header-checksum-ignored",
        (('raise CorruptFile("header checksum differs")', "pass"),),
        "test_container.py::test_every_changed_byte_is_noticed",
    ),
    Fault(
        "checksum-without-the-type",
        (
            ("return checked + zlib.crc32(checked)", "return checked + zlib.crc32(checked[1:])"),
            ("zlib.crc32(checked).to_bytes(", "zlib.crc32(checked[1:]).to_bytes("),
        ),
        "test_container.py::test_layout_is_what_the_format_page_says",
    ),
    Fault(
        "chunk-cap-ignored",
        (
            ('raise CorruptFile(f"{name}: {length} bytes, cap {_cap(kind, header)}")', "pass"),
            ("length > _cap(kind, header)", "length > 2 * _cap(kind, header)"),
        ),
        "test_container.py::test_image_cap",
    ),
    Fault(
        "bytes-after-the-end-accepted",
        (('raise CorruptFile(f"{len(data) - cursor.position} bytes after the end")', "pass"),),
        "test_container.py::test_appended_bytes",
    ),
    Fault(
        "bytes-after-deflate-accepted",
        (("or not unpacker.eof or unpacker.unused_data:", "or not unpacker.eof:"),),
        "test_container.py::test_bad_deflate",
    ),
    Fault(
        "pixel-limit-off-by-one",
        (("if header.width * header.height > max_pixels:", "if header.width * header.height >= max_pixels:"),),
        "test_container.py::test_pixel_limit",
    ),
)

ENTROPY = (
    Fault(
        "escape-class",
        (("length = self._decode(CLASS_MODEL, count) + 1", "length = self._decode(CLASS_MODEL, count)"),),
        "test_entropy_coders.py::test_escapes_up_to_the_largest",
    ),
    Fault(
        "huffman-escape-sign",
        (("return -magnitude if bits[4] else magnitude", "return magnitude if bits[4] else -magnitude"),),
        "test_entropy_coders.py::test_escapes_up_to_the_largest",
    ),
    Fault(
        "damaged-stream-accepted",
        (('raise CorruptFile("entropy-coded stream is damaged, cut or followed by junk")', "pass"),),
        "test_entropy_coders.py::test_appended_bytes_are_noticed",
    ),
    Fault(
        "neighbours-rounded-up",
        (("around(on) // 2", "(around(on) + 1) // 2"),),
        "test_vectors.py::test_symbols_are_exact",
    ),
    Fault(
        "halves-down",
        (("np.left_shift(1, bits) >> 1", "(np.left_shift(1, bits) - 1) >> 1"),),
        "test_vectors.py::test_symbols_are_exact",
    ),
    Fault(
        "checkerboard-parity",
        (("np.arange(width)[None, :]) % 2 == 0", "np.arange(width)[None, :]) % 2 == 1"),),
        "test_vectors.py::test_symbols_are_exact",
    ),
    Fault(
        "level-prediction-floored",
        (("(grid[before] + grid[after] + 1) >> 1", "(grid[before] + grid[after]) >> 1"),),
        "test_vectors.py::test_symbols_are_exact",
    ),
    Fault(
        "level-shift-dropped",
        (("levels.astype(np.int64) * model.sublevels + level_shift", "levels.astype(np.int64) * model.sublevels"),),
        "test_vectors.py::test_symbols_are_exact",
    ),
)

CODECS = (
    Fault(
        "fractional-level-dropped",
        (("position / SUBLEVELS", "position // SUBLEVELS"),),
        "test_vectors.py::test_pixels_are_within_bounds",
    ),
    Fault(
        "sign-of-n",
        (('- calibration["logit_slope"] * n', '+ calibration["logit_slope"] * n'),),
        "test_codec.py::test_n_moves_the_levels_finely_whatever_the_map",
    ),
    Fault(
        "first-channel-trimmed",
        ((".depth - lost, 1)", ".depth - lost, 0)"), ("depth - lost, 1)", "depth - lost, 0)")),
        "test_wu2019.py::test_trimming_takes_the_last_channels_evenly",
    ),
    Fault(
        "fill-beside-what-is-kept",
        (("means[~beside] = np.rint(means[keep].mean(0))", "means[~keep] = np.rint(means[keep].mean(0))"),),
        "test_split.py::test_fills_keep_the_borders_of_a_lossy_layer",
    ),
    Fault(
        "tiles-by-columns",
        (
            (
                "for top in range(part.top, part.bottom, side): for left in range(part.left, part.right, side):",
                "for left in range(part.left, part.right, side):\n"
                "        for top in range(part.top, part.bottom, side):",
            ),
        ),
        "test_vectors.py::test_symbols_are_exact",
    ),
    Fault(
        "sign-of-a-region",
        (("bias - bias.mean()", "bias.mean() - bias"),),
        "test_priority.py::test_the_mean_is_kept_and_white_lies_above_black_by_the_strength",
    ),
    Fault(
        "size-exceeded",
        (("n: size for n, size in tried.items() if size <= target}", "n: size for n, size in tried.items()}"),),
        "test_rate.py::test_any_function_of_n_stays_within_the_target_if_a_probe_did",
    ),
    Fault(
        "alpha-differences-along-rows",
        (("np.diff(picture.alpha, axis=0, prepend=", "np.diff(picture.alpha, axis=1, prepend="),),
        "test_codec.py::test_alpha_is_lossless_and_metadata_comes_back",
    ),
)

BATCH = (
    Fault(
        "one-retry-less",
        (
            ("if ticket.deaths <= self.retries:", "if ticket.deaths < self.retries:"),
            ("deaths < retries:", "deaths + 1 < retries:"),
        ),
        "test_batch.py::test_retries_are_bounded",
    ),
    Fault(
        "changed-input-skipped",
        (('and record["sha256"] ==', 'or record["sha256"] =='),),
        "test_batch.py::test_batch_goes_on_where_it_stopped",
    ),
    Fault(
        "other-settings-ignored",
        (("if done.settings != settings:", "if not done.settings:"),),
        "test_batch.py::test_batch_with_other_settings_touches_nothing",
    ),
    Fault(
        "strict-ignored",
        (("if strict and not done.hit:", "if strict and not done.sha256:"),),
        "test_batch.py::test_a_missed_size_is_not_done_when_strict",
    ),
    Fault(
        "cut-line-continued",
        (('"\\n" * self._cut + json.dumps(record)', "json.dumps(record)"),),
        "test_batch.py::test_lines_reach_the_file_at_once_and_a_cut_one_stays_alone",
    ),
    Fault(
        "output-not-atomic",
        (
            (
                'temporary = target.with_name(f".gancodec-{secrets.token_hex(6)}.tmp")',
                "temporary = target; temporary.unlink(missing_ok=True)",
            ),
            ("os.replace(temporary, target)", "target.write_bytes(temporary.read_bytes())"),
        ),
        "test_faults.py::test_a_kill_in_the_middle_of_writing",
    ),
)

FAULTS = {fault.name: fault for fault in (*CONTAINER, *ENTROPY, *CODECS, *BATCH)}


def find_code(package: Path, changes: Iterable[tuple[str, str]]) -> Place | None:
    """Place of the first pair whose code is in the package exactly once."""
    sources = [(path, path.read_text(encoding="utf-8")) for path in sorted(package.rglob("*.py"))]
    for code, text in changes:
        pattern = re.compile(r"\s+".join(map(re.escape, code.split())))
        found = [(path, match) for path, source in sources for match in pattern.finditer(source)]
        if len(found) == 1:
            path, match = found[0]
            return Place(path, *match.span(), text)
    return None


def find_tests(tests: Path, words: str) -> list[str]:
    """Node ids for pytest; none for a test that is nowhere."""
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(tests.rglob("test_*.py"))}
    nodes = []
    for word in words.split():
        file, _, function = word.partition("::")
        holders = [path for path, source in sources.items() if f"def {function}(" in source]
        nodes += [f"{path}::{function}" for path in holders if path.name == file] or [
            f"{path}::{function}" for path in holders
        ]
    return nodes


def run_tests(copy: Path, nodes: Sequence[str]) -> tuple[str, str]:
    """Outcome of the tests, as of a fault, and the last lines of what pytest said."""
    if not nodes:
        return "no tests", ""
    # The same examples every time, and no bytecode, which might be that of the fault before.
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *options, *nodes]
    try:
        ran = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "broken", f"not at an end after {PATIENCE} seconds"
    return OUTCOMES.get(ran.returncode, "broken"), "\n".join((ran.stdout + ran.stderr).splitlines()[-MOST_LINES:])


def plant(copy: Path, fault: Fault) -> tuple[str, str, str]:
    """Outcome of a fault, where it was planted, and what pytest said; the copy is whole again after it."""
    place = find_code(copy / PACKAGE, fault.changes)
    if place is None:
        return "not found", "", ""
    source = place.path.read_text(encoding="utf-8")
    line = f"{place.path.relative_to(copy)}:{len(source[: place.start + 1].splitlines())}"
    place.path.write_text(source[: place.start] + place.text + source[place.end :], encoding="utf-8")
    try:
        outcome, said = run_tests(copy, find_tests(copy / TESTS, fault.tests))
    finally:
        place.path.write_text(source, encoding="utf-8")
    return outcome, line, said


def plant_all(copy: Path, faults: Sequence[Fault], verbose: bool) -> int:
    """Plant faults one after the other and print what became of them; how many were not caught."""
    everything = [node for fault in faults for node in find_tests(copy / TESTS, fault.tests)]
    outcome, said = run_tests(copy, list(dict.fromkeys(everything)))
    if outcome != "survived":
        print(f"the tests fail without any fault:\n{said}")
        return len(faults)
    missed = 0
    for fault in faults:
        started = time.perf_counter()
        outcome, line, said = plant(copy, fault)
        missed += outcome != "caught"
        print(f"{outcome:10} {time.perf_counter() - started:5.1f} s  {fault.name:30} {line}", flush=True)
        if verbose or outcome == "broken":
            print(said)
    return missed


def main() -> int:
    """Plant what is named; exit code 1 unless all of it is caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults to plant; all where none is named")
    parser.add_argument("--list", action="store_true", help="print names, code and tests, and plant nothing")
    parser.add_argument("--checkout", type=Path, default=ROOT, metavar="FOLDER", help="where package and tests are")
    parser.add_argument("--verbose", action="store_true", help="print what pytest said, too")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(FAULTS)):
        parser.error(f"no fault is named {', '.join(unknown)}")
    faults = [FAULTS[name] for name in options.names] or list(FAULTS.values())
    if options.list:
        for fault in faults:
            print(fault.name, *(f"\n    {code}  ->  {text}" for code, text in fault.changes), f"\n    {fault.tests}")
        return 0
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "checkout")
        shutil.copytree(options.checkout, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        missed = plant_all(copy, faults, options.verbose)
    print(f"{len(faults) - missed} of {len(faults)} caught, {time.perf_counter() - started:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
