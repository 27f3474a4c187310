"""Weights are read only where they are what the manifest says, and nothing in them or in the manifest can do harm."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from gancodec import weights
from gancodec.errors import GicError, MissingWeights
from gancodec.models.gic1.codec import TunableCodec
from gancodec.models.inference import build
from tests.conftest import Run

ROOT = Path(__file__).parent.parent
NAME = "gic1-tiny"
MOST_GROWTH = 64  # MiB that reading all of HOSTILE may take


def tensors(header: object, data: bytes = b"") -> bytes:
    """A safetensors file, sound or not: the header's length, the header, the data."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def one(dtype: str = "F16", shape: tuple[int, ...] = (1,), offsets: tuple[int, int] = (0, 2)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE = {
    "empty": b"",
    "text": b"no weights\n",
    "a header of 2^62 bytes": struct.pack("<Q", 1 << 62) + b"{}",
    "a header of 90 MiB in a short file": struct.pack("<Q", 90 << 20) + b"{}",
    "a header that is a list": tensors([]),
    "a header that is not UTF-8": tensors(b"\xff\xfe{}"),
    "a deep header": tensors(b'{"a":' * 100_000),
    "an array beyond the end": tensors({"a": one(shape=(1 << 40,), offsets=(0, 1 << 41))}, b"12"),
    "arrays that overlap": tensors({"a": one(), "b": one(offsets=(1, 3))}, b"123"),
    "an array from its end to its start": tensors({"a": one(offsets=(2, 0))}, b"12"),
    "an array of another size": tensors({"a": one(shape=(7,))}, b"12"),
    "sizes that multiply to more than 2^64": tensors({"a": one(shape=(1 << 40, 1 << 40), offsets=(0, 0))}),
    "nothing times 2^62": tensors({"a": one(shape=(0, 1 << 62), offsets=(0, 0))}),
    "a hundred dimensions": tensors({"a": one(shape=(1,) * 100)}, b"12"),
    "a negative size": tensors({"a": one(shape=(-1,))}, b"12"),
    "a type that numpy has not": tensors({"a": one("BF16")}, b"12"),
    "an unknown type": tensors({"a": one("OBJECT")}, b"12"),
    "bytes after the last array": tensors({"a": one()}, b"1234"),
}  # fmt: skip


@pytest.fixture
def own(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights file of a folder of this test's own, which is the one in use."""
    folder = shutil.copytree(tiny_folder, tmp_path / "weights")
    monkeypatch.setenv(weights.ENVIRONMENT, str(folder))
    return folder / f"{NAME}.safetensors"


def replace(own: Path, data: bytes, name: str | None = None) -> None:
    """Put `data` there, with its SHA-256 in the manifest; under another name, if one is given, in the manifest only."""
    own.write_bytes(data)
    manifest = own.with_name("manifest.json")
    record = json.loads(manifest.read_text(encoding="utf-8"))
    record["models"][NAME] |= {"sha256": hashlib.sha256(data).hexdigest(), "file": name or own.name}
    manifest.write_text(json.dumps(record), encoding="utf-8")


class Harm:
    """Unpickled, it makes a folder."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize("place", [0, 200, -1])
def test_a_changed_file_is_refused_before_it_is_parsed(own: Path, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = bytearray(own.read_bytes())
    changed[place] ^= 1
    own.write_bytes(changed)

    def parse(data: bytes) -> None:
        pytest.fail("parsed what is not the released file")

    monkeypatch.setattr(safetensors.numpy, "load", parse)
    with pytest.raises(MissingWeights, match="SHA-256 differs"):
        weights.get(None)


def test_a_changed_file_on_the_command_line(own: Path, photo: Path, run: Run) -> None:
    own.write_bytes(own.read_bytes()[:-1])
    ran = run("encode", photo, "--bpp", "1")
    assert (ran.code, ran.out) == (4, b"")
    assert len(ran.err.splitlines()) == 1
    assert "SHA-256 differs" in ran.err
    assert not photo.with_suffix(".gic").exists()


def test_a_pickle_is_never_unpickled(own: Path, tmp_path: Path) -> None:
    data = pickle.dumps(Harm(tmp_path / "harm"))
    own.write_bytes(data)
    with pytest.raises(MissingWeights, match="SHA-256 differs"):
        weights.get(None)
    replace(own, data)  # by whoever can write the manifest
    with pytest.raises(MissingWeights, match="not a safetensors file"):
        weights.get(None)
    assert not (tmp_path / "harm").exists()
    pickle.loads(data)
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_that_the_manifest_names(own: Path, kind: str, run: Run, photo: Path) -> None:
    replace(own, HOSTILE[kind])
    with pytest.raises(MissingWeights, match="not a safetensors file"):
        weights.get(None)
    ran = run("encode", photo, "--bpp", "1")
    assert (ran.code, len(ran.err.splitlines())) == (4, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory by /proc")
def test_hostile_files_take_little_memory(own: Path) -> None:
    program = (
        "import hashlib, sys\nfrom dataclasses import replace\nfrom pathlib import Path\nfrom gancodec import weights\n"
        "from gancodec.errors import MissingWeights\nimport safetensors.numpy\n"
        "def peak(): return next(int(s.split()[1]) for s in open('/proc/self/status') if s.startswith('VmHWM'))\n"
        "info, before = weights.find(None), peak()\n"
        "for path in sys.argv[1:]:\n"
        "    sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()\n"
        "    try: weights._load(replace(info, path=Path(path), sha256=sha256))\n"
        "    except MissingWeights as error: assert 'not a safetensors file' in str(error), error\n"
        "    else: sys.exit(f'{path} was read')\n"
        "print((peak() - before) / 1024)"
    )
    paths = []
    for i, data in enumerate(HOSTILE.values()):
        paths.append(own.with_name(f"{i}.safetensors"))
        paths[-1].write_bytes(data)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", program, *paths], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) < MOST_GROWTH


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "{root}/outside.safetensors", "sub/inside.safetensors", ".."]
)
def test_a_manifest_names_files_beside_itself_only(own: Path, name: str) -> None:
    data = own.read_bytes()
    (own.parent / "sub").mkdir()
    for place in (own.parent.parent / "outside.safetensors", own.parent / "sub" / "inside.safetensors"):
        place.write_bytes(data)
    replace(own, data, name.format(root=own.parent.parent))
    assert [(model.name, model.installed) for model in weights.available()] == [(NAME, False)]
    with pytest.raises(MissingWeights, match="is not installed"):
        weights.get(None)


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"default": "a", "models": []}',
        b'{"default": "a", "models": {"a": 1}}',
        b'{"default": "a", "models": {"a": {"id": 1e999, "file": "a"}}}',
        b'{"default": "a", "models": {"a": {"id": 1, "file": 1}}}',
        b'{"default": "a", "models": {"a": {"id": 1, "file": "a", "sha256": "", "entropy_hash": "xy"}}}',
        b'{"a":' * 100_000,
    ],
)
def test_a_wrong_manifest_is_one_line(own: Path, manifest: bytes, run: Run) -> None:
    own.with_name("manifest.json").write_bytes(manifest)
    ran = run("models")
    assert (ran.code, ran.out) == (4, b"")
    assert len(ran.err.splitlines()) == 1
    assert "unreadable manifest" in ran.err


def test_a_file_that_is_too_large_is_not_read(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MAX_BYTES", own.stat().st_size - 1)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("read it"))
    with pytest.raises(MissingWeights, match=f"more than {weights.MAX_BYTES} bytes"):
        weights.get(None)


def test_a_file_that_cannot_be_read(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(MissingWeights, match=f"{NAME}.safetensors cannot be read: Permission denied"):
        weights.get(None)


def test_arrays_that_do_not_fit_are_an_error_of_ours(own: Path) -> None:
    """Of a file that is sound, and that the manifest names."""
    arrays = safetensors.numpy.load(own.read_bytes())

    def put(name: str, instead: np.ndarray[Any, Any] | None) -> None:
        others = {k: v for k, v in arrays.items() if k != name}
        replace(own, safetensors.numpy.save(others if instead is None else others | {name: instead}))

    for name in (name for name in arrays if name.startswith("entropy.")):
        put(name, None)
        with pytest.raises(GicError):
            TunableCodec(weights.get(None))
    put("entropy.latent.offset", arrays["entropy.latent.offset"] ^ 1)
    with pytest.raises(MissingWeights, match="not those that the manifest names"):
        TunableCodec(weights.get(None))
    name = next(name for name in arrays if name.startswith("network.") and arrays[name].ndim == 4)
    for instead in (None, np.zeros(3, np.float16)):
        put(name, instead)
        with pytest.raises(MissingWeights, match="do not fit the architecture"):
            build(weights.get(None), torch.device("cpu"))
