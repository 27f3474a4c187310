"""The names that users import, and that importing them is cheap."""

from __future__ import annotations

import array
import importlib.metadata
import io
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gancodec
from gancodec import errors
from gancodec.codec.inputs import read_picture
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


class _Raw(io.RawIOBase):
    """Gives a byte at a time, as pipes and sockets may."""

    def __init__(self, data: bytes) -> None:
        self.left = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self.left.readinto(memoryview(buffer)[:1])


def test_an_unbuffered_stream_is_read_to_its_end() -> None:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(file, "PNG")
    assert read_picture(_Raw(file.getvalue()), 100).rgb.shape == (2, 3, 3)


@pytest.mark.parametrize(
    "source",
    [
        np.float32(3),
        np.uint8(3),
        array.array("d", [1.0]),
        np.ma.masked_array(np.zeros((8, 8, 3), np.uint8), True),
        io.BytesIO,
        types.SimpleNamespace(read=lambda: b""),
    ],
)
def test_what_is_no_picture_is_told_what_is_wanted(source: object) -> None:
    with pytest.raises(errors.UsageError, match="a picture is taken as"):
        read_picture(source, 100)  # type: ignore[arg-type]


def test_a_view_of_more_pixels_than_may_be_is_not_copied() -> None:
    with pytest.raises(errors.UnreadablePicture, match=f"{1 << 40} pixels is more than 100"):
        read_picture(np.broadcast_to(np.uint8(7), (1 << 20, 1 << 20)), 100)


def test_an_error_is_one_line_that_terminals_can_show() -> None:
    assert str(errors.UsageError("model \x1b[2J\nx\u202e")) == "model \\x1b[2J x\\u202e"


def test_metadata_of_another_type_is_named() -> None:
    image = Image.new("RGB", (3, 2))
    image.info["exif"] = "text"
    with pytest.raises(errors.UnreadablePicture, match=r"info\['exif'\] is str: must be bytes"):
        read_picture(image, 100)
