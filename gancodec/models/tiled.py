"""The streams of a picture, one or one a tile: cut apart to write, and read when the generator comes to them.

Large pictures are cut so that neither side has to hold the symbols of all of it, and so that a region can be decoded
without the rest. Each tile is coded as if it were a picture of its own. The networks see beyond its borders, so pixels
have no seams there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.container import Container, Tiles, spec
from gancodec.errors import CorruptFile
from gancodec.models.gic1.symbols import Symbols
from gancodec.models.learned import Codec, coder_name
from gancodec.tiling import Area, cover
from gancodec.types import BLOCK, FloatArray, Geometry


class Streams(NamedTuple):
    """A coded picture: its streams, the header's level shift, and the side of its tiles where it has any."""

    parts: tuple[bytes, ...]
    level_shift: int
    side: int | None

    @property
    def image(self) -> bytes:
        """Data of the IMAGE chunk."""
        return b"".join(self.parts)

    @property
    def tiles(self) -> Tiles | None:
        """What the TILES chunk says."""
        return None if self.side is None else Tiles(self.side, tuple(map(len, self.parts)))


class Place(NamedTuple):
    """A stream and the area of the padded picture that it codes."""

    area: Area
    stream: bytes

    @property
    def geometry(self) -> Geometry:
        """Of the area alone."""
        return Geometry(width=self.area.right - self.area.left, height=self.area.bottom - self.area.top)


def encode(codec: Codec, analysis: Any, geometry: Geometry, n: float, coder: str = "range", trim: int = 0) -> Streams:
    """Code an analysed picture at `n`, in tiles where it is large; levels are chosen for the picture as a whole."""
    side = codec.tile_side(geometry)
    levels, shift = codec.levels_at(analysis.importance, n)
    parts = []
    for area in _areas(geometry, side):
        target = codec.trimmed(codec.target_of(analysis, levels, shift, area), trim)
        parts.append(codec.write(target, Place(area, b"").geometry, shift, coder)[0])
    return Streams(tuple(parts), shift, side)


def _areas(geometry: Geometry, side: int | None) -> list[Area]:
    height, width = geometry.padded
    return [tile.inner for tile in cover(height, width, side or max(height, width), 0)]


def places(parsed: Container) -> list[Place]:
    """The streams of a parsed file of a learned codec; CorruptFile where one would be for too many pixels."""
    geometry = Geometry(width=parsed.header.width, height=parsed.header.height)
    tiles = parsed.tiles
    if tiles is None and np.prod(geometry.padded) > spec.MAX_STREAM_PIXELS:
        raise CorruptFile(f"one stream for {geometry.width}x{geometry.height} pixels: must be cut into tiles")
    lengths = (len(parsed.image),) if tiles is None else tiles.lengths
    ends = np.cumsum(lengths).tolist()
    streams = [parsed.image[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    areas = _areas(geometry, None if tiles is None else tiles.side)
    return [Place(area, stream) for area, stream in zip(areas, streams, strict=True)]


class Reader:
    """Reads the symbols of a file's streams, one at a time.

    Parameters
    ----------
    codec : Codec
    parsed : Container
        Of that codec.
    """

    def __init__(self, codec: Codec, parsed: Container) -> None:
        self.codec, self.places = codec, places(parsed)
        self.geometry = Geometry(width=parsed.header.width, height=parsed.header.height)
        self._shift, self._coder = parsed.header.level_shift, coder_name(parsed.header.coder)
        self._held: dict[Area, tuple[FloatArray, FloatArray]] = {}

    def each(self) -> Iterator[tuple[Area, Symbols]]:
        """Area and symbols of every stream; CorruptFile where one is damaged."""
        return ((place.area, self._symbols(place)) for place in self.places)

    def check_first(self, area: Area) -> None:
        """Read the first stream that an area has part in: CorruptFile for nonsense before a network is loaded."""
        self(next(place.area for place in self.places if place.area.common(area)))

    def symbols(self) -> Symbols:
        """Those of the whole picture, put together."""
        kinds = tuple(zip(*(symbols for _, symbols in self.each()), strict=True))
        strides = self.codec.symbol_strides
        return Symbols(*(self._joined(parts, stride) for parts, stride in zip(kinds, strides, strict=True)))

    def block_bits(self) -> NDArray[np.float64]:
        """Bits that each block costs, (hb, wb); they add up to those of all streams."""
        parts = [self.codec.block_bits(p.stream, p.geometry, self._shift, self._coder) for p in self.places]
        return self._joined(parts, BLOCK)

    def __call__(self, area: Area) -> tuple[FloatArray, FloatArray]:
        """Latents (K, h, w) with gains undone and levels (hb, wb) of an area on multiples of 64.

        For areas asked for from the top to the bottom: what lies above is forgotten.
        """
        self._held = {known: arrays for known, arrays in self._held.items() if known.bottom > area.top}
        height, width, stride = area.bottom - area.top, area.right - area.left, self.codec.stride
        latent = np.empty((self.codec.entropy.channels, height // stride, width // stride), np.float32)
        level = np.empty((height // BLOCK, width // BLOCK), np.float32)
        for place in self.places:
            common = place.area.common(area)
            if common is None:
                continue
            held = self._held.get(place.area)
            if held is None:
                held = self._held[place.area] = self.codec.generator_input(self._symbols(place), self._shift)
            target, source = common.seen_from(area), common.seen_from(place.area)
            latent[target.sites(stride)] = held[0][source.sites(stride)]
            level[target.sites(BLOCK)] = held[1][source.sites(BLOCK)]
        return latent, level

    def _symbols(self, place: Place) -> Symbols:
        return self.codec.read(place.stream, place.geometry, self._shift, self._coder)

    def _joined(self, parts: list[NDArray[Any]] | tuple[NDArray[Any], ...], stride: int) -> NDArray[Any]:
        """Arrays of the streams (…, rows, columns), with a value every `stride` pixels, as one."""
        height, width = self.geometry.padded
        whole = np.empty((*parts[0].shape[:-2], height // stride, width // stride), parts[0].dtype)
        for place, part in zip(self.places, parts, strict=True):
            whole[place.area.sites(stride)] = part
        return whole
