"""Random corruptions of sound files of every kind: each must be refused, and none may pass as another picture.

python -m tests.fuzz.corrupt --each 500

Counts how decoding ends: refused; `silent`, where something else than the original comes out; `same`, where the
original does; `errors`, where anything but a GicError does. Exits with 1 unless all are refused.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from gancodec import weights
from gancodec.codec import Box, EncodeOptions, decode_bytes, encode_picture
from gancodec.errors import GicError, MissingWeights
from gancodec.types import Picture
from tests.fuzz.pictures import EXIF, XMP, profile
from tests.fuzz.targets import prepare
from tests.tiny import picture

Damage = Callable[[bytearray, np.random.Generator], None]
MAX_RANGE = 64  # bytes


def files() -> Iterator[tuple[str, bytes]]:
    """Twenty-four files: both coders of each installed model and both inner coders of the split codec, bare and with
    everything; and a few of odd sizes."""
    rng = np.random.default_rng(1)
    bare = Picture(picture(70, 90, 1))
    full = Picture(bare.rgb, rng.integers(0, 256, (70, 90), dtype=np.uint8), profile(), EXIF, XMP)
    boxes = (Box(9, 9, 30, 30),)
    kinds = {"bare": bare, "full": full}
    for kind, source in kinds.items():
        for model in ("gic1-tiny", "gic2-tiny", None):
            for entropy in ("range", "huffman"):
                options = EncodeOptions(n=0.0, model=model, entropy=entropy)
                yield f"{model or 'default'}-{entropy}-{kind}", encode_picture(source, options).data
        for inner in ("lossy", "lossless"):
            options = EncodeOptions(profile="split", inner=inner, roi_boxes=boxes)
            yield f"split-{inner}-{kind}", encode_picture(source, options).data
    odd = {"pixel": (1, 1), "row": (3, 200), "blocks": (130, 140), "column": (300, 2)}
    for i, (name, (height, width)) in enumerate(odd.items()):
        model = None if i % 2 else "gic1-tiny"
        for n in (-2.0, 2.0):
            options = EncodeOptions(n=n, model=model)
            yield f"{name}-n{n:g}", encode_picture(Picture(picture(height, width, i)), options).data


def _flip_bit(data: bytearray, rng: np.random.Generator) -> None:
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))


def _change_byte(data: bytearray, rng: np.random.Generator) -> None:
    data[rng.integers(len(data))] = int(rng.integers(256))


def _change_range(data: bytearray, rng: np.random.Generator) -> None:
    start, end = _range(data, rng)
    data[start:end] = rng.bytes(end - start)


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[rng.integers(len(data)) :]


def _insert(data: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(len(data) + 1))
    data[place:place] = rng.bytes(int(rng.integers(1, MAX_RANGE)))


def _delete(data: bytearray, rng: np.random.Generator) -> None:
    start, end = _range(data, rng)
    del data[start:end]


def _swap(data: bytearray, rng: np.random.Generator) -> None:
    start, end = _range(data, rng)
    middle = (start + end) // 2
    data[start:end] = data[middle:end] + data[start:middle]


def _duplicate(data: bytearray, rng: np.random.Generator) -> None:
    start, end = _range(data, rng)
    data[end:end] = data[start:end]


def _zero(data: bytearray, rng: np.random.Generator) -> None:
    start, end = _range(data, rng)
    data[start:end] = bytes(end - start)


def _range(data: bytearray, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(len(data)))
    return start, min(len(data), start + int(rng.integers(1, MAX_RANGE)))


DAMAGES: tuple[Damage, ...] = (
    _flip_bit,
    _change_byte,
    _change_range,
    _cut,
    _insert,
    _delete,
    _swap,
    _duplicate,
    _zero,
)


def corrupted(data: bytes, rng: np.random.Generator, damages: tuple[Damage, ...] = DAMAGES) -> bytes:
    """Damaged in one way or in several, and different for certain."""
    while True:
        out = bytearray(data)
        for kind in rng.choice(len(damages), rng.integers(1, 4)):
            if out:
                damages[kind](out, rng)
        if out != data:
            return bytes(out)


def outcome(data: bytes, original: Picture) -> str:
    """How the decoding of damaged bytes ends."""
    try:
        decoded = decode_bytes(data)
    except GicError:
        return "refused"
    except BaseException as error:  # a panic of constriction's Rust core is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return "errors"
    pairs = [(getattr(decoded, name), getattr(original, name)) for name in ("rgb", "alpha", "icc", "exif", "xmp")]
    return "same" if all(np.array_equal(a, b) for a, b in pairs) else "silent"


def trial(each: int, seed: int = 1) -> dict[str, Counter[str]]:
    """Outcomes of `each` corruptions of every file, by its name."""
    rng = np.random.default_rng(seed)
    counts = {}
    for name, data in files():
        original = decode_bytes(data)
        counts[name] = Counter(outcome(corrupted(data, rng), original) for _ in range(each))
    return counts


def prepare_both(folder: Path) -> None:
    """The installed models and the tiny one in one folder, which GANCODEC_WEIGHTS must name."""
    try:
        for path in weights.folder().iterdir():
            shutil.copy(path, folder)
    except MissingWeights:
        pass
    prepare(folder)


def main() -> int:
    """Damage, decode, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=500, help="corruptions of each file")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        prepare_both(Path(folder))
        os.environ[weights.ENVIRONMENT] = folder
        counts = trial(asked.each, asked.seed)
    total: Counter[str] = Counter()
    for name, found in counts.items():
        print(f"{name:24} {dict(found)}")
        total += found
    print(f"{len(counts)} files, {sum(total.values())} corruptions: {dict(total)}")
    return 0 if set(total) == {"refused"} else 1


if __name__ == "__main__":
    sys.exit(main())
