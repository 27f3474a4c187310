"""The names that users import, and that importing them is cheap."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import gancodec
from gancodec import errors

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
    from gancodec.codec import api

    assert gancodec.encode is api.encode
    assert gancodec.decode is api.decode
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
