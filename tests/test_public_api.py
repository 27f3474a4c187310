"""The names that users import, and that importing them is cheap."""

from __future__ import annotations

import importlib.metadata
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import gancodec
from gancodec import errors
from tests.conftest import Run, make_gic

NAMES = [
    "CorruptFile",
    "CorruptTable",
    "DecodeOptions",
    "EncodeOptions",
    "GicError",
    "MissingExtra",
    "MissingWeights",
    "OutputExists",
    "TargetMissed",
    "UnreadablePicture",
    "UnsupportedFile",
    "UsageError",
    "__version__",
    "decode",
    "encode",
    "info",
]
EXIT_CODES = {
    "GicError": 1,
    "UsageError": 2,
    "CorruptFile": 3,
    "CorruptTable": 3,
    "UnreadablePicture": 3,
    "UnsupportedFile": 3,
    "MissingExtra": 4,
    "MissingWeights": 4,
    "TargetMissed": 5,
    "OutputExists": 6,
}


def test_exported_names() -> None:
    assert gancodec.__all__ == NAMES
    assert set(NAMES) <= set(dir(gancodec))


def test_every_name_resolves() -> None:
    from gancodec.codec import api, info

    assert gancodec.encode is api.encode
    assert gancodec.decode is api.decode
    assert gancodec.info is info.info
    assert gancodec.EncodeOptions().n is None
    assert gancodec.DecodeOptions().realism is None
    assert all(hasattr(gancodec, name) for name in NAMES)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        gancodec.missing  # noqa: B018


def test_exit_codes() -> None:
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    assert {name: value.exit_code for name, value in classes.items()} == EXIT_CODES
    assert all(issubclass(value, errors.GicError) for value in classes.values())


def test_installed_version_is_the_packages() -> None:
    assert importlib.metadata.version("gancodec") == gancodec.__version__


def test_package_is_typed() -> None:
    assert Path(gancodec.__file__).with_name("py.typed").is_file()


def test_import_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, gancodec; print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_info_is_what_the_command_tells(coded: Path, run: Run) -> None:
    told = gancodec.info(coded)
    assert told == gancodec.info(str(coded)) == json.loads(run("info", "--json", coded).out)
    assert (told["file"], told["width"], told["height"], told["n"]) == (str(coded), 40, 30, 0.25)
    data, unnamed = coded.read_bytes(), {key: value for key, value in told.items() if key != "file"}
    behind = io.BytesIO(b"before" + data)
    behind.seek(6)
    for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), behind):
        assert gancodec.info(source) == unnamed


def test_info_refuses_what_the_command_refuses(coded: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.UnreadablePicture, match="missing.gic: cannot be read: no such file"):
        gancodec.info(tmp_path / "missing.gic")
    with pytest.raises(errors.CorruptFile, match="checksum"):
        gancodec.info(coded.read_bytes()[:-9] + bytes(9))
    with pytest.raises(errors.UnsupportedFile, match="1199 pixels"):
        gancodec.info(coded, max_pixels=1199)
    with pytest.raises(errors.UsageError, match="max_pixels = '9'"):
        gancodec.info(coded, max_pixels="9")  # type: ignore[arg-type]


def test_info_reads_no_more_than_there_can_be() -> None:
    class Endless(io.RawIOBase):
        left = make_gic()[:-5]
        taken = 0

        def read(self, size: int = -1, /) -> bytes:
            part, self.left = (self.left + bytes(size))[:size], self.left[size:]
            self.taken += size
            assert self.taken < 100_000_000
            return part

    with pytest.raises(errors.CorruptFile, match="longer than any"):
        gancodec.info(Endless())


def test_info_needs_neither_torch_nor_numpy(coded: Path) -> None:
    look = "print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    code = f"import sys, gancodec; gancodec.info({str(coded)!r}); {look}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
