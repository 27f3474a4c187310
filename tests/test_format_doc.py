"""`docs/format.md`, the file(1) lines and the MIME entry say what the code does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from hashlib import sha256
from math import log2
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gancodec import container
from gancodec.container import spec
from gancodec.container.header import FIELDS, MOST_VARINT_BYTES, Field
from gancodec.entropy.gaussian import ROWS
from gancodec.entropy.levels import CLASSES, GAUSSIAN, LOGISTIC
from gancodec.models.gic2 import config as gic2
from gancodec.models.gic2.integers import KEY_LIMIT, NEIGHBOURS
from gancodec.models.gic2.symbols import LAST
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.wu2019.config import STRIDE
from gancodec.models.wu2019.symbols import CONTEXTS, END, SYMBOLS
from gancodec.types import BLOCK, LATENT_STRIDE, SITES
from tests import gic2_by_the_page as page
from tests.conftest import make_gic

GIC2 = Path(__file__).parent / "vectors" / "v1-gic2-tiny"
WORDS = {4: "four", 8: "eight"}
DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "format.md").read_text()
PAGE_GIC2 = (DOCS / "format-gic2.md").read_text()
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
    for text, most in ((PAGE, 150), (PAGE_GIC2, 100)):
        assert len(text.splitlines()) <= most
        assert max(map(len, text.splitlines())) <= 140


# --- docs/format-gic2.md

SPACING = gic2.TOP // (gic2.KNOTS - 1)


@pytest.mark.parametrize(
    "words",
    [
        f"The stream of codec {spec.CODEC_GIC2}, gic2",
        f"each in 1 to {spec.CODECS[spec.CODEC_GIC2].slices} slices",
        f"levels 0 .. {LEVELS - 1}, {SUBLEVELS} sublevels a level, {gic2.KNOTS} knots, {ROWS} tables, "
        f"a ladder of {gic2.LADDER} keys",
        f"blocks* of {BLOCK} pixels, in each {SITES} x {SITES} *sites* of {LATENT_STRIDE} pixels",
        f"u8, their number, 1..{spec.CODECS[spec.CODEC_GIC2].slices}",
        f"First steps are in 1..{gic2.LADDER} and ascend",
        f"the last one ends before step {LAST}",
        f"L = {LEVELS} and other rows: class - {CLASSES // 2} under row {GAUSSIAN.busy}, "
        f"level at (0, 0) - {LEVELS // 2} under row {GAUSSIAN.first}",
        f"(-, {', '.join(map(str, GAUSSIAN.fine[1:]))})[class] + {GAUSSIAN.coarser} s",
        f"p = {SUBLEVELS} level + level_shift, 0..{gic2.POSITIONS - 1}, is the *position*",
        f"v at {gic2.KNOTS} knots, {SPACING} positions apart: at positions 0, {SPACING}, .. {gic2.TOP}",
        f"q = min(p, {gic2.TOP}), j = min(floor(q / {SPACING}), {gic2.KNOTS - 2}), f = q - {SPACING} j, "
        f"the value at p is floor((v[j] ({SPACING} - f) + v[j + 1] f) / {SPACING})",
        f"`latent.gain` ({gic2.KNOTS} x C), `hyper.offset`, `hyper.gain`, `hyper.inverse` ({gic2.KNOTS} x Kh)",
        f"min(|z[k]|, {gic2.NEAR_MAX})",
        f"the {WORDS[NEIGHBOURS]} blocks around",
        f"clip(o >> {gic2.ROW_BITS}, 0, {ROWS - 1})",
        f"|z| above {gic2.HYPER_LIMIT} makes the file corrupt",
        f"clip(rs(z[k] `hyper.inverse`[p, k], {gic2.UNIT_BITS}), -{gic2.INPUT_MAX}, {gic2.INPUT_MAX})",
        f"site s = {SITES} i + j",
        f"clip((t + `latent.offset`[p, c]) >> {gic2.ROW_BITS}, 0, {ROWS - 1})",
        f"clip((t >> {gic2.ROW_BITS}) + `latent.worth`[c], -{KEY_LIMIT}, {KEY_LIMIT})",
        f"the *step* of a latent, 0..{gic2.LADDER}, is",
        f"exp(`latent.gain`[p, c] / {1 << gic2.GAIN_BITS})",
        f"min(p, {gic2.TOP}) / {gic2.TOP}",
        f"It has {WORDS[gic2.STEPS]} steps",
    ],
)
def test_page_of_gic2_states(words: str) -> None:
    assert words in " ".join(PAGE_GIC2.split())


def test_page_of_gic2_names_all_arrays() -> None:
    arrays = load_file(GIC2 / "gic2-tiny.safetensors")
    named = {name.removeprefix("entropy.") for name in arrays if name.startswith("entropy.")}
    pages = PAGE_GIC2 + PAGE
    assert [name for name in sorted(named) if f"`{name}`" not in pages] == []


def by_the_page(path: Path, changed: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """Symbols of a vector, put together from its tiles, as the decoder that was written from the page has them."""
    parsed = container.read(path.read_bytes(), partial=True)
    header, side = parsed.header, parsed.tiles.side if parsed.tiles else 1 << 20
    arrays = {name[8:]: a for name, a in load_file(GIC2 / "gic2-tiny.safetensors").items() if name[:8] == "entropy."}
    rows = []
    streams = iter(parsed.streams)
    for top in range(0, header.height, side):
        row = []
        for left in range(0, header.width, side):
            height, width = min(side, header.height - top), min(side, header.width - left)
            blocks = (-(-height // BLOCK), -(-width // BLOCK))
            row.append(page.decode(next(streams), arrays | (changed or {}), header.coder, *blocks, header.level_shift))
        rows.append([np.concatenate(parts, -1) for parts in zip(*row, strict=True)])
    whole = [np.concatenate(parts, -2) for parts in zip(*rows, strict=True)]
    return dict(zip(page.Decoded._fields, whole, strict=True))


@pytest.mark.parametrize("path", sorted(GIC2.glob("*.gic")), ids=lambda p: p.stem)
def test_a_decoder_by_the_page_has_the_same_symbols(path: Path) -> None:
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["symbols"]
    found = by_the_page(path)
    assert {name: sha256(np.ascontiguousarray(a, "<i4").tobytes()).hexdigest() for name, a in found.items()} == told


@pytest.mark.parametrize("stem", ["photo", "photo-huffman"])
def test_a_decoder_by_the_page_sees_damage(stem: str) -> None:
    """Each slice of a stream is read to its end, and a range coder's is written again."""
    parsed = container.read((GIC2 / f"{stem}.gic").read_bytes())
    arrays = {name[8:]: a for name, a in load_file(GIC2 / "gic2-tiny.safetensors").items() if name[:8] == "entropy."}
    shape = (-(-parsed.header.height // BLOCK), -(-parsed.header.width // BLOCK))
    (slices,) = parsed.streams
    coder, shift = parsed.header.coder, parsed.header.level_shift
    for number, part in enumerate(slices):
        for changed in (part + bytes(4), part[:-4], part[:-1] + bytes((part[-1] ^ 0x81,))):
            with pytest.raises(page.Wrong):
                page.decode((*slices[:number], changed, *slices[number + 1 :]), arrays, coder, *shape, shift)


@pytest.mark.parametrize("name", ["latent.first", "latent.ladder", "near.weight", "near.bias", "hyper.inverse"])
def test_the_vectors_use_all_of_the_page(name: str) -> None:
    """With an array that is a little different other symbols are read, or none."""
    arrays = load_file(GIC2 / "gic2-tiny.safetensors")
    value = arrays[f"entropy.{name}"]
    changed = {name: np.roll(value, 1, -1) if name != "latent.ladder" else value + 1}
    path = GIC2 / "low.gic"
    told = by_the_page(path)
    try:
        found = by_the_page(path, changed)
    except page.Wrong:
        return
    assert any((found[field] != told[field]).any() for field in told)


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
