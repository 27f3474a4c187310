"""Do files written under one setting of the numeric libraries read the same under every other one?

Every setting writes the same pictures in a fresh process, every setting reads every file in another; the table says
where symbols or dequantised latents differ in a single byte. Then every setting decodes the files of the first one, and
their pixels must be as far apart as is promised, no further. ``python tools/determinism.py``; exit code 1 if not.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
COUNTS = ("1", "2")
CORES = {"Nehalem": "SSE42", "Haswell": "AVX2", "SkylakeX": "AVX512F"}  # of OpenBLAS, and what each needs
CASES = {  # picture, n, coder, model (None: the default)
    "photo-fine": ("photo", -2.0, "range", None),
    "photo": ("photo", 0.0, "range", None),
    "photo-huffman": ("photo", 0.5, "huffman", None),
    "photo-wu2019": ("photo", 0.0, "range", "wu2019-small"),
    "photo-gic2": ("photo", -1.0, "range", "gic2"),
    "photo-gic2-tiny": ("photo", -1.0, "range", "gic2-tiny"),  # seeded, for tests
    "shapes-gic2-tiny": ("shapes", 1.0, "huffman", "gic2-tiny"),
    "shapes": ("shapes", -1.0, "range", None),
    "noise": ("noise", -3.5, "range", None),
}
FAR, MOST_FAR, MOST = 1, 1e-4, 2  # levels that pixels may be apart, the share that may be further, and how far these


def numpy_extensions() -> str:
    """Instruction sets that NumPy uses here beyond its baseline, for NPY_DISABLE_CPU_FEATURES; "" where none."""
    return ",".join(name for name in _numpy_core().__cpu_dispatch__ if _numpy_core().__cpu_features__[name])


def _numpy_core() -> Any:
    return sys.modules.get("numpy._core._multiarray_umath") or sys.modules["numpy.core._multiarray_umath"]


def settings() -> dict[str, dict[str, str]]:
    """Environment variables by name of setting that this CPU can run. What a library does not know, it ignores."""
    old = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    features = _numpy_core().__cpu_features__
    numpy = {"NPY_DISABLE_CPU_FEATURES": numpy_extensions()} if numpy_extensions() else {}
    return {
        "1 thread": dict.fromkeys(THREADS, COUNTS[0]),
        "2 threads": dict.fromkeys(THREADS, COUNTS[1]),
        **{core: {"OPENBLAS_CORETYPE": core} for core, needs in CORES.items() if features.get(needs)},
        "oneDNN SSE41": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
        "oneDNN AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        "ATen default": {"ATEN_CPU_CAPABILITY": "default"},
        "NumPy baseline": numpy,
        "all oldest": {"OPENBLAS_CORETYPE": "Nehalem", **old, **numpy, **dict.fromkeys(THREADS, COUNTS[0])},
    }


def environment(changes: dict[str, str]) -> dict[str, str]:
    """This process's environment with `changes`, nothing else forced, and this repository importable."""
    forced = {name for values in settings().values() for name in values}
    kept = {name: value for name, value in os.environ.items() if name not in forced}
    return {**kept, "PYTHONPATH": str(ROOT), **changes}


def picture(kind: str) -> NDArray[np.uint8]:
    """Deterministic (H, W, 3) uint8 pictures; sides no multiple of 64."""
    if kind == "photo":
        from skimage import data

        photo: NDArray[np.uint8] = np.ascontiguousarray(data.astronaut()[20:250, 120:420])
        return photo
    rng = np.random.default_rng(5)
    if kind == "noise":
        return rng.integers(0, 256, (100, 150, 3), dtype=np.uint8)
    y, x = np.mgrid[0:130, 0:210]
    rgb = np.stack([x, y, (x * y) % 256], -1) + 60 * ((x // 30 + y // 20) % 2)[..., None]
    shapes: NDArray[np.uint8] = np.clip(rgb, 0, 255).astype(np.uint8)
    return shapes


def digest(data: bytes) -> dict[str, str]:
    """SHA-256 of all symbols, and of the dequantised latents, of a .gic file."""
    from gancodec.codec import read_symbols
    from gancodec.models.gic1 import symbols as gic1

    symbols = read_symbols(data)
    dequantised = symbols.dequantised16 if isinstance(symbols, gic1.Symbols) else symbols.grids[-1].values
    whole = b"".join(np.ascontiguousarray(grid.values, "<i4").tobytes() for grid in symbols.grids)
    latents = np.ascontiguousarray(dequantised, "<i4").tobytes()
    return {"symbols": hashlib.sha256(whole).hexdigest(), "latents": hashlib.sha256(latents).hexdigest()}


def libraries() -> dict[str, str]:
    """What the numeric libraries of this process say that they run as, where they say it."""
    said = {}
    for path in sorted({line.split()[-1] for line in _maps() if "openblas" in line}):
        library = ctypes.CDLL(path)
        for name in ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename"):
            if hasattr(library, name):
                function = getattr(library, name)
                function.restype = ctypes.c_char_p
                said["openblas"] = function().decode()
    if "torch" in sys.modules:
        said["aten"] = sys.modules["torch"].backends.cpu.get_cpu_capability()
    return said


def _maps() -> list[str]:
    maps = Path("/proc/self/maps")
    return maps.read_text().splitlines() if maps.exists() else []


def write(folder: Path, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Encode cases into `folder`; what this process reads back of each."""
    from gancodec.codec import EncodeOptions, encode_picture
    from gancodec.types import Picture

    result = {}
    for name in names:
        kind, n, coder, model = CASES[name]
        options = EncodeOptions(n=n, entropy=coder, model=model, device="cpu")
        data = encode_picture(Picture(picture(kind)), options).data
        path = folder / f"{name}.gic"
        path.write_bytes(data)
        result[str(path)] = digest(data)
    return result


def read(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Digests of files."""
    return {path: digest(Path(path).read_bytes()) for path in paths}


def decode(folder: Path, paths: Iterable[str], device: str = "cpu") -> dict[str, dict[str, str]]:
    """Decode files into `folder`, where the arrays of their pixels are then."""
    from gancodec.codec import DecodeOptions, decode_bytes

    result = {}
    for number, path in enumerate(paths):
        target = folder / f"{number}.npy"
        np.save(target, decode_bytes(Path(path).read_bytes(), DecodeOptions(device=device)).rgb)
        result[path] = {"pixels": str(target)}
    return result


def apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[float, int]:
    """The share of values that are further apart than pixels may be, and the greatest difference."""
    distance = np.abs(one.astype(int) - other)
    return float((distance > FAR).mean()), int(distance.max())


def kept(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Is what is promised of pixels true of these?"""
    share, most = apart(one, other)
    return share <= MOST_FAR and most <= MOST


def child(changes: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """Start this file in a fresh process under a setting."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, env=environment(changes), stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Digests by file and the libraries of a `child`; RuntimeError where it failed."""
    out, _ = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(f"{process.args!r} failed")
    files, said = json.loads(out)
    return files, said


def matrix(folder: Path, cases: Sequence[str], chosen: dict[str, dict[str, str]]) -> int:
    """Write and read under all settings, print the table, and return how many pairs differ."""
    written = {}
    for i, (name, changes) in enumerate(chosen.items()):
        place = folder / str(i)
        place.mkdir()
        files, said = answer(child(changes, "--write", str(place), *cases))
        written[name] = files
        print(f"wrote under {name:16} {said}", flush=True)
    contents = {path: Path(path).read_bytes() for files in written.values() for path in files}
    distinct = {content: path for path, content in contents.items()}  # most settings write the same: read it once
    differing = 0
    print(f"\n{'read under':16} " + " ".join(f"{name:>14}" for name in written) + "  <- written under")
    for name, changes in chosen.items():
        found, said = answer(child(changes, "--read", *distinct.values()))
        wrong = [sum(found[distinct[contents[path]]] != files[path] for path in files) for files in written.values()]
        differing += sum(wrong)
        cells = (f"{'same' if not count else f'{count} differ':>14}" for count in wrong)
        print(f"{name:16} " + " ".join(cells) + f"  {said}", flush=True)
    print(f"\n{len(contents)} files ({len(distinct)} distinct) read under {len(chosen)} settings: {differing} differ")
    return differing


def pixels(folder: Path, paths: Sequence[str], chosen: dict[str, dict[str, str]]) -> int:
    """Decode files under all settings, print how far their pixels are from those under the first, and return how many
    pictures are too far."""
    first: dict[str, str] = {}
    broken = 0
    print(f"\n{'decoded under':16} " + " ".join(f"{Path(path).stem:>17}" for path in paths))
    for i, (name, changes) in enumerate(chosen.items()):
        place = folder / f"pixels {i}"
        place.mkdir()
        files, said = answer(child(changes, "--decode", str(place), *paths))
        found = {path: result["pixels"] for path, result in files.items()}
        first = first or found
        both = [(np.load(first[path]), np.load(found[path])) for path in paths]
        broken += sum(not kept(*two) for two in both)
        cells = (f"{100 * share:9.4f} %, {most:4}" for share, most in (apart(*two) for two in both))
        print(f"{name:16} " + " ".join(cells) + f"  {said}", flush=True)
    print(
        f"\n{len(paths)} pictures: {broken} with more than 1 in {1 / MOST_FAR:.0f} values over {FAR} apart, or {MOST}"
    )
    return broken


def installed(case: str) -> bool:
    """Is the model of a case there?"""
    from gancodec import weights
    from gancodec.errors import MissingWeights

    try:
        return weights.find(CASES[case][3]).installed
    except MissingWeights:
        return False


def main() -> int:
    """Run the whole matrix, or (`--write`, `--read`, `--decode`) one process of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", metavar="FOLDER", help="encode the cases named into a folder")
    parser.add_argument("--read", action="store_true", help="read the files named")
    parser.add_argument("--decode", metavar="FOLDER", help="decode the files named into a folder")
    parser.add_argument("--device", default="cpu", help="that decodes")
    parser.add_argument("names", nargs="*", help="cases, or files to read")
    options = parser.parse_args()
    if options.write:
        print(json.dumps([write(Path(options.write), options.names or CASES), libraries()]))
        return 0
    if options.read:
        print(json.dumps([read(options.names), libraries()]))
        return 0
    if options.decode:
        print(json.dumps([decode(Path(options.decode), options.names, options.device), libraries()]))
        return 0
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        cases = options.names or [case for case in CASES if installed(case)]
        differing = matrix(Path(folder), cases, settings())
        written = [str(Path(folder) / "0" / f"{case}.gic") for case in cases]
        return 1 if differing + pixels(Path(folder), written, settings()) else 0


if __name__ == "__main__":
    sys.exit(main())
