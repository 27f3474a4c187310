"""`docs/format.md`, the file(1) lines and the MIME entry say what the code does."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from math import log2
from pathlib import Path

import pytest

from gancodec.container import spec
from gancodec.container.header import FIELDS, MOST_VARINT_BYTES, Field
from gancodec.entropy.levels import LOGISTIC
from gancodec.models.wu2019.config import STRIDE
from gancodec.models.wu2019.symbols import CONTEXTS, END, SYMBOLS
from tests.conftest import make_gic

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "format.md").read_text()
SMALLEST = min(spec.TILE_SIDES)
KINDS = {
    "IMAGE": str(spec.IMAGE_BASE),
    "END": "0",
    "ALPHA": "width * height",
    "TILES": f"1 + {MOST_VARINT_BYTES} a tile of {SMALLEST} x {SMALLEST}",
    "MORE": f"what is left of that of IMAGE + {MOST_VARINT_BYTES} a tile of {SMALLEST} x {SMALLEST}",
}


def listed(values: tuple[int, ...]) -> str:
    return f"{', '.join(map(str, values[:-1]))} or {values[-1]}"


def _encoding(field: Field) -> str:
    if field.kind == "varint":
        return "uvarint"
    if field.kind == "bytes":
        return f"{field.size} bytes"
    return f"{'i' if field.least < 0 else 'u'}{8 * field.size}"


def told_order(codec: int) -> str:
    """The chunks whose order matters, up to MORE."""
    order = spec.CODECS[codec].order
    return ", ".join(spec.CHUNK_NAMES[kind] for kind in order[: order.index(spec.MORE) + 1])


def test_header_table() -> None:
    told = re.findall(r"^\| `([a-z_]+)` \| ([\w ]+) \| ([-\w.]+) \|", PAGE, re.MULTILINE)
    values = {f.name: "any" if f.kind == "bytes" else f"{f.least}..{f.greatest}" for f in FIELDS}
    assert told == [(f.name, _encoding(f), values[f.name]) for f in FIELDS]


def test_chunk_table() -> None:
    told = re.findall(r"^\| `0x(\w\w)` \| (\w+) \| (\w+) \| ([^;,:|]+)", PAGE, re.MULTILINE)
    for kind, name, criticality, limit in told:
        assert spec.CHUNK_NAMES[int(kind, 16)] == name
        assert criticality == ("ancillary" if int(kind, 16) & spec.ANCILLARY else "critical")
        expected = KINDS.get(name, str(spec.MAX_METADATA))
        assert limit.strip() == (f"{expected} + {spec.IMAGE_PER_PIXEL} a padded pixel" if name == "IMAGE" else expected)
    assert [int(kind, 16) for kind, *_ in told] == sorted(spec.CHUNK_NAMES)


@pytest.mark.parametrize(
    "words",
    [
        f"The .gic format, version {spec.MAJOR}.{spec.MINOR}",
        f"u8 major = {spec.MAJOR}, u8 minor = {spec.MINOR}",
        f"`{spec.MAGIC.hex(' ').upper()}`",
        f"MIME type `{spec.MIME}`, suffix `{spec.SUFFIX}`",
        f"at most 5 bytes and {spec.MAX_VARINT}",
        f"more than {spec.MAX_PIXELS} pixels",
        f"Bit 7 of a type ({spec.ANCILLARY:#x})",
        f"at most {spec.MAX_UNKNOWN_CHUNKS} of these in a file, with at most {spec.MAX_UNKNOWN_BYTES} bytes of data",
        f"{spec.CODEC_GIC1} = the tunable codec, {spec.CODEC_SPLIT} = the split codec, "
        f"{spec.CODEC_WU2019} = the wu2019 codec, {spec.CODEC_GIC2} = the gic2 codec; others are unsupported",
        f"codecs {spec.CODEC_GIC1}, {spec.CODEC_WU2019}, {spec.CODEC_GIC2}: {spec.CODER_RANGE} = range coder, "
        f"{spec.CODER_HUFFMAN} = Huffman coder",
        f"codec {spec.CODEC_SPLIT}: {spec.CODER_WEBP} = WebP, {spec.CODER_WEBP_LOSSLESS} = lossless WebP",
        f"A stream of codec {spec.CODEC_GIC2} is in 1 to {spec.CODECS[spec.CODEC_GIC2].slices} slices",
        f"Chunks come as {told_order(spec.CODEC_GIC2)}, .. and then the others",
        f"{spec.IMAGE_BASE} + {spec.IMAGE_PER_PIXEL} a padded pixel bytes, and {MOST_VARINT_BYTES} a tile of",
        f"The IMAGE stream of codec {spec.CODEC_GIC1}, the tunable codec",
        f"The IMAGE stream of codec {spec.CODEC_SPLIT}, the split codec",
        f"The IMAGE stream of codec {spec.CODEC_WU2019}, the wu2019 codec",
        f"A site is {STRIDE} pixels a side",
        f"Symbols {', '.join(map(str, SYMBOLS))} are the values 0, 1, 2, 3; symbol {END} ends the site",
        f"1 + {CONTEXTS} K + k",
        f"1 + {CONTEXTS} k + {len(SYMBOLS)} floor(a / 2) + v",
        f"cells of {spec.CELL} x {spec.CELL} pixels: ceil(height / {spec.CELL}) rows of ceil(width / {spec.CELL})",
        f"{log2(spec.FACTORS[0]):g}..{log2(spec.FACTORS[-1]):g}, so f is {listed(spec.FACTORS)}",
        f"{log2(spec.TILE_SIDES[0]):g}..{log2(spec.TILE_SIDES[-1]):g}, so S is {listed(spec.TILE_SIDES)} pixels",
        f"One stream codes at most {spec.MAX_STREAM_PIXELS} padded pixels",
        f"With coder {spec.CODER_WEBP} these are a key frame of VP8 (RFC 6386), with",
        f"with coder {spec.CODER_WEBP_LOSSLESS} a VP8L stream",
        f"under row {LOGISTIC.busy}: class",
        f"under row {LOGISTIC.first}:",
        f"(-, {', '.join(map(str, LOGISTIC.fine[1:]))})[class]",
    ],
)
def test_page_states(words: str) -> None:
    assert words in " ".join(PAGE.split())


def test_page_is_one_page() -> None:
    assert len(PAGE.splitlines()) <= 150
    assert max(map(len, PAGE.splitlines())) <= 140


def test_mime_entry() -> None:
    space = "{http://www.freedesktop.org/standards/shared-mime-info}"
    entry = ElementTree.parse(DOCS / "gic.xml").getroot().find(f"{space}mime-type")
    assert entry is not None
    match, glob = entry.find(f"{space}magic/{space}match"), entry.find(f"{space}glob")
    assert match is not None
    assert glob is not None
    assert entry.get("type") == spec.MIME
    assert glob.get("pattern") == f"*{spec.SUFFIX}"
    assert match.get("value", "").encode().decode("unicode_escape").encode("latin-1") == spec.MAGIC


@pytest.mark.skipif(shutil.which("file") is None, reason="no file(1) here")
def test_magic_lines(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(make_gic())
    command = ["file", "--brief", "--magic-file", str(DOCS / "gic.magic"), str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    assert told.strip() == f"gancodec picture, version {spec.MAJOR}.{spec.MINOR}"
    kind = subprocess.run([*command, "--mime-type"], capture_output=True, text=True, check=True, timeout=20).stdout
    assert kind.strip() == spec.MIME
