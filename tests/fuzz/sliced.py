"""Targets of codec 6: its streams in slices, and files of it that are cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gancodec import container, weights
from gancodec.codec import decode_bytes, read_symbols
from gancodec.codec.api import codec_of
from gancodec.container import Container, Header, spec
from gancodec.container.header import Cursor, varint
from gancodec.errors import CorruptFile
from gancodec.models.gic2.symbols import Symbols
from gancodec.options import DecodeOptions
from tests.frozen import NAME
from tests.fuzz.bounds import PIXELS, first_byte, run, verified
from tests.fuzz.build import chunk, gic, mended

CODERS = (spec.CODER_RANGE, spec.CODER_HUFFMAN)
MOST = spec.CODECS[spec.CODEC_GIC2].slices
LAST_STEP = 32
CLASS_BITS = 16  # more than the class of a level map takes


class Parts(NamedTuple):
    """First steps of the slices but the first, and all slices, without the list."""

    steps: tuple[int, ...]
    slices: tuple[bytes, ...]

    @property
    def bodies(self) -> list[bytes]:
        """Data of IMAGE and of each MORE."""
        told = [bytes((step,)) + varint(len(part)) for step, part in zip(self.steps, self.slices[1:], strict=True)]
        return [b"".join((bytes((len(self.slices),)), *told, self.slices[0])), *self.slices[1:]]


def slices(data: bytes) -> None:
    """Any bytes as the slices of a small picture, with either coder: refused, or symbols that no other slices have, and
    of which those of the first slices are a part.

    With a mode of 1 or 3 the list of slices tells the lengths that they have, and in 3 its steps ascend.
    """
    fields, rest = data[:6].ljust(6, b"\0"), data[6:]
    info = weights.find(NAME)
    width, height, coder, shift = 1 + fields[0] % 192, 1 + fields[1] % 192, CODERS[fields[2] % 2], fields[3] % 16
    header = Header(width, height, info.id, info.entropy_hash, spec.CODEC_GIC2, coder, 0, 0, shift)
    parts = _parts(rest, fields[4])
    bodies = [rest] if parts is None else parts.bodies
    file = _file(header, bodies)
    symbols = run(read_symbols, file)
    assert (symbols is None) == (run(verified, file) is None)
    for count in range(1, len(bodies)):
        part = run(_symbols, file[: -6 - sum(container.chunk_size(len(body)) for body in bodies[count:])])
        assert symbols is None or _is_part(part, symbols)
    if symbols is None:
        return
    assert symbols.latents.shape[1:] == (-(-height // 64) * 4, -(-width // 64) * 4)
    if parts is not None:
        _differs(lambda changed: _file(header, changed.bodies), parts, fields[5], symbols)
    if fields[5] % 64 == 0:
        picture = run(decode_bytes, file)
        assert picture is not None
        assert picture.rgb.shape == (height, width, 3)


def _parts(rest: bytes, mode: int) -> Parts | None:
    """Slices as a list in front of them tells; None where it is not to be understood, or not to be right."""
    if mode % 2 == 0 or not rest:
        return None
    cursor = Cursor(rest, 1)
    steps, lengths = [], []
    try:
        for _ in range(max(1, rest[0]) % (MOST + 1) - 1):
            steps.append(cursor.take(1)[0])
            lengths.append(cursor.varint())
    except CorruptFile:
        return None
    if mode % 4 == 3:
        steps = sorted({1 + step % LAST_STEP for step in steps})
    begins = np.cumsum([0, *lengths[: len(steps)]])
    end = max(cursor.position, len(rest) - int(begins[-1]))
    others = tuple(rest[end + a : end + b] for a, b in zip(begins, begins[1:], strict=False))
    return Parts(tuple(steps), (rest[cursor.position : end], *others))


def _file(header: Header, bodies: list[bytes]) -> bytes:
    return gic(header, bodies[0], *(chunk(spec.MORE, body) for body in bodies[1:]))


def _symbols(part: bytes) -> Symbols:
    """Symbols of a file that may be cut."""
    return codec_of(weights.get(NAME), "cpu").symbols(container.read(part, partial=True))


def _is_part(part: Symbols | None, whole: Symbols) -> bool:
    """Are symbols those of a whole, but for latents that are 0?"""
    return (
        part is not None
        and all(np.array_equal(a, b) for a, b in zip(part[:2], whole[:2], strict=True))
        and bool(((part.latents == whole.latents) | (part.latents == 0)).all())
    )


def _differs(file_of: Callable[[Parts], bytes], parts: Parts, choice: int, symbols: Symbols) -> None:
    """A slice that goes on for a word is refused, and one of which a bit is changed means something else where it is
    accepted too: nothing of a slice goes unread.

    But for the start of the first one: which class a level map has that is flat is up to the writer.
    """
    number = choice % len(parts.slices)
    before, mine, behind = parts.slices[:number], parts.slices[number], parts.slices[number + 1 :]
    longer = parts._replace(slices=(*before, mine + bytes(4), *behind))
    assert run(read_symbols, file_of(longer)) is None, f"slice {number} may go on"
    begin, size = 0 if number else CLASS_BITS, 8 * len(mine)
    if size <= begin:
        return
    place = begin + (choice << 8 | choice) % (size - begin)
    changed = bytearray(mine)
    changed[place // 8] ^= 1 << place % 8
    other = run(read_symbols, file_of(parts._replace(slices=(*before, bytes(changed), *behind))))
    if other is not None:
        same = all(np.array_equal(a, b) for a, b in zip(symbols, other, strict=True))
        assert not same, f"bit {place} of slice {number} means nothing"


def partial(data: bytes) -> None:
    """A file of any codec, cut anywhere, as it is or under right checksums: what is whole of it is a part of what the
    whole file is, and only those who ask for a part get one."""
    mode, data = first_byte(data)
    place, data = int.from_bytes(data[:2], "little"), data[2:]
    if mode & 1:
        data = mended(data)
    cut = data[: place % (len(data) + 1)] if mode & 2 else data
    whole, part = run(container.read, data, PIXELS, partial=True), run(container.read, cut, PIXELS, partial=True)
    if part is not None and whole is not None:
        _holds_part(part, whole)
    if part is None or part.cut is not None:
        assert run(container.read, cut, PIXELS) is None
        assert run(verified, cut) is None
        assert run(decode_bytes, cut, DecodeOptions(max_pixels=PIXELS)) is None
    picture = run(decode_bytes, cut, DecodeOptions(max_pixels=PIXELS, partial=True))
    if picture is not None:
        assert part is not None
        assert picture.rgb.shape == (part.header.height, part.header.width, 3)
        assert [line[:11] for line in picture.notices] == ["cut short: "] * (part.cut is not None)


def _holds_part(part: Container, whole: Container) -> None:
    """Chunks of a part are the first ones of the whole, with what is in them."""
    assert part.header == whole.header
    assert part.chunks == whole.chunks[: len(part.chunks)]
    assert (part.image, part.tiles) == (whole.image, whole.tiles)
    assert part.more == whole.more[: len(part.more)]
    assert all(getattr(part, name) in (None, getattr(whole, name)) for name in ("alpha", "icc", "exif", "xmp"))
