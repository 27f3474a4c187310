"""Damage where it tells: parts of picture files exchanged, doubled or left out, and their lengths, counts, places, tags
and sides changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tests.fuzz.build import PNG_MAGIC, mended_png
from tests.fuzz.corrupt import DAMAGES, Damage, corrupted

Field = tuple[int, int, str]  # place, bytes, byte order
BOXES = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"iinf": 6, b"iref": 4, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0}
TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 16: 8}
MOST_PARTS = 200
SIDES = (0, 1, 255, 4096, 16383, 65535, 100_000, (1 << 31) - 1, (1 << 32) - 1)


class Structure(NamedTuple):
    """Parts as (start, end), numbers, and those of them that are sides of the picture, in pairs."""

    parts: list[tuple[int, int]]
    fields: list[Field]
    sides: list[Field]


def structure(data: bytes) -> Structure:
    """What can be told of a file, damaged or not; empty for what is none of these formats."""
    for start, walk in WALKS.items():
        if data[4 if start == b"ftyp" else 0 :].startswith(start):
            return walk(data)
    return Structure([], [], [])


def _png(data: bytes) -> Structure:
    found = Structure([], [], [(16, 4, "big"), (20, 4, "big")])
    position = len(PNG_MAGIC)
    while position + 12 <= len(data) and len(found.parts) < MOST_PARTS:
        end = position + 12 + _number(data, (position, 4, "big"))
        found.parts.append((position, end))
        found.fields.extend([(position, 4, "big"), *_words(position + 8, min(end - 4, position + 40), (1, 2, 4))])
        position = end
    return found


def _jpeg(data: bytes) -> Structure:
    found = Structure([], [], [])
    position = 2
    while data[position : position + 1] == b"\xff" and len(found.parts) < MOST_PARTS:
        marker, end = data[position + 1 : position + 2], position + 2 + _number(data, (position + 2, 2, "big"))
        found.parts.append((position, end))
        found.fields.extend([(position + 1, 1, "big"), (position + 2, 2, "big")])
        found.fields.extend(_words(position + 4, min(end, position + 24), (1, 2)))
        if marker in b"\xc0\xc1\xc2":
            found.sides.extend([(position + 5, 2, "big"), (position + 7, 2, "big")])
        if data[position + 4 :].startswith(b"Exif\0\0"):
            found.fields.extend(_tiff(data, position + 10).fields)
        if marker == b"\xda":
            break
        position = end
    return found


def _riff(data: bytes) -> Structure:
    found = Structure([], [(4, 4, "little")], [])
    position = 12
    while position + 8 <= len(data) and len(found.parts) < MOST_PARTS:
        size = _number(data, (position + 4, 4, "little"))
        found.parts.append((position, position + 8 + size + size % 2))
        found.fields.extend([(position + 4, 4, "little"), *_words(position + 8, position + 24, (1, 2, 3))])
        place = {b"VP8X": (12, 3), b"VP8 ": (14, 2), b"ANMF": (14, 3)}.get(data[position : position + 4])
        if place:
            found.sides.extend((position + place[0] + i * place[1], place[1], "little") for i in (0, 1))
        position = found.parts[-1][1]
    return found


def _boxes(data: bytes) -> Structure:
    found = Structure([], [], [])
    open_ = [(0, len(data))]
    while open_ and len(found.parts) < MOST_PARTS:
        position, end = open_.pop()
        while position + 8 <= end:
            kind, close = data[position + 4 : position + 8], position + max(8, _number(data, (position, 4, "big")))
            found.parts.append((position, close))
            found.fields.append((position, 4, "big"))
            if kind in BOXES:
                open_.append((position + 8 + BOXES[kind], min(close, end)))
            elif kind != b"mdat":
                found.fields.extend(_words(position + 8, min(close, position + 60), (1, 2, 4)))
            if kind == b"ispe":
                found.sides.extend([(position + 12, 4, "big"), (position + 16, 4, "big")])
            position = close
    return found


def _tiff(data: bytes, base: int = 0) -> Structure:
    """Of TIFF at `base`: the entries of its first directory are the parts."""
    order = "big" if data[base : base + 2] == b"MM" else "little"
    big = data[base + 2 : base + 4] in (b"\0+", b"+\0")
    word, head = (8, 8) if big else (4, 2)
    at = base + _number(data, (base + (8 if big else 4), word, order))
    found = Structure([], [(base + 2, 2, order), (base + (8 if big else 4), word, order), (at, head, order)], [])
    for entry in range(at + head, len(data), 4 + 2 * word)[: min(MOST_PARTS, _number(data, (at, head, order)))]:
        found.parts.append((entry, entry + 4 + 2 * word))
        value: Field = (entry + 4 + word, word, order)
        short: Field = (value[0], 2, order)
        found.fields.extend([(entry, 2, order), (entry + 2, 2, order), (entry + 4, word, order), value, short])
        tag, kind, count = (_number(data, field) for field in found.fields[-5:-2])
        size = TIFF_SIZES.get(kind, 1)
        if size * count > word:  # values that lie elsewhere
            found.fields.extend((base + _number(data, value) + i * size, size, order) for i in range(min(count, 4)))
        if tag in (256, 257):
            found.sides.append(short if kind == 3 else value)
    return found


def _bmp(data: bytes) -> Structure:
    fields = [(place, size, "little") for size, places in ((4, range(2, 70, 4)), (2, (26, 28))) for place in places]
    return Structure([(14, 54), (54, len(data))], fields, [(18, 4, "little"), (22, 4, "little")])


def _gif(data: bytes) -> Structure:
    sides = [(6, 2, "little"), (8, 2, "little")]
    fields: list[Field] = [*sides, (10, 1, "little"), (11, 1, "little")]
    at = data.find(b",", 13)
    frame = [(at + 1 + 2 * i, 2, "little") for i in range(4)] if at > 0 else []
    return Structure(
        [(13, at), (at, len(data))] if at > 0 else [], [*fields, *frame, (at + 9, 1, "little")], sides + frame[2:]
    )


WALKS: dict[bytes, Callable[[bytes], Structure]] = {
    PNG_MAGIC: _png,
    b"\xff\xd8": _jpeg,
    b"RIFF": _riff,
    b"ftyp": _boxes,
    b"II": _tiff,
    b"MM": _tiff,
    b"BM": _bmp,
    b"GIF8": _gif,
}


def _words(start: int, end: int, sizes: tuple[int, ...]) -> Iterator[Field]:
    """Everything that may be a number."""
    yield from ((place, size, "big") for size in sizes for place in range(start, end - size + 1, size))


def _number(data: bytes | bytearray, field: Field) -> int:
    """0 behind the end."""
    return int.from_bytes(data[field[0] : field[0] + field[1]], field[2])  # type: ignore[arg-type]


def _set(data: bytearray, field: Field, value: int) -> None:
    place, size, order = field
    if 0 <= place <= len(data) - size:
        data[place : place + size] = (value % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]


def _change_number(data: bytearray, rng: np.random.Generator) -> None:
    fields = structure(bytes(data)).fields
    if not fields:
        return
    field, other = (fields[i] for i in rng.integers(len(fields), size=2))
    now, most = _number(data, field), (1 << 8 * field[1]) - 1
    near = [now + 1, now - 1, 2 * now, now // 2, now ^ 1 << int(rng.integers(8 * field[1]))]
    values = [0, 1, 2, most, most >> 1, (most >> 1) + 1, len(data), int(rng.integers(256)), _number(data, other), *near]
    _set(data, field, values[rng.integers(len(values))])


def _change_sides(data: bytearray, rng: np.random.Generator) -> None:
    """Sometimes one, mostly both: what is stated may be a bomb."""
    for side in structure(bytes(data)).sides:
        if rng.integers(4):
            _set(data, side, SIDES[rng.integers(len(SIDES))])


def _change_parts(data: bytearray, rng: np.random.Generator) -> None:
    parts = structure(bytes(data)).parts
    if len(parts) < 2:
        return
    (start, end), (other, close) = sorted(parts[i] for i in rng.choice(len(parts), 2, replace=False))
    part = data[start:end]
    match rng.integers(4):
        case 0 if end <= other:  # exchanged
            data[start:close] = data[other:close] + data[end:other] + part
        case 1:
            data[other:other] = part
        case 2:
            del data[start:end]
        case _:  # its last half is cut off
            del data[(start + end) // 2 : end]


def _append(data: bytearray, rng: np.random.Generator) -> None:
    data += (bytes(99), rng.bytes(200), bytes(data), b"\0\0\0\x18ftypmp42")[rng.integers(4)]


OURS: tuple[Damage, ...] = (_change_number, _change_number, _change_number, _change_sides, _change_parts, _append)


def corrupted_picture(data: bytes, rng: np.random.Generator) -> bytes:
    """Damaged in one way or in several, with and without regard to its structure; a PNG file mostly under right
    checksums."""
    out = corrupted(data, rng, OURS if rng.integers(4) else DAMAGES)
    return mended_png(out) if out.startswith(PNG_MAGIC) and rng.integers(4) else out
