"""The streams of a picture, one or one a tile: cut apart to write, and read when the generator comes to them.

Large pictures are cut so that neither side has to hold the symbols of all of it, and so that a region can be decoded
without the rest. Each tile is coded as if it were a picture of its own. The networks see beyond its borders, so pixels
have no seams there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple

import numpy as np

from gancodec.container import Container, spec
from gancodec.container.header import varint
from gancodec.errors import CorruptFile
from gancodec.models.codec import geometry_of
from gancodec.models.stream import A, Frame, Levels, S, StreamCodec, W, coder_name
from gancodec.tiling import Area, Progress, cover
from gancodec.types import BLOCK, Geometry, Plane, Planes


class Place(NamedTuple):
    """A stream, in slices, and the area of the padded picture that it codes."""

    area: Area
    slices: tuple[bytes, ...]


def encode(
    codec: StreamCodec[A, W, S],
    analysis: A,
    geometry: Geometry,
    levels: Levels,
    coder: str = "range",
    trim: int = 0,
    progress: Progress | None = None,
) -> tuple[tuple[bytes, ...], ...]:
    """Streams of an analysed picture at the levels of the whole, one or one a tile."""
    streams: list[tuple[bytes, ...]] = []
    areas = _areas(geometry, codec.tile_side(geometry))
    for area in areas:
        wanted = codec.wanted_of(analysis, levels, area, trim)
        streams.append(codec.write(wanted, Frame(area.geometry, coder, levels.shift)))
        if progress is not None:
            progress(len(streams), len(areas))
    return tuple(streams)


def _areas(geometry: Geometry, side: int | None) -> list[Area]:
    height, width = geometry.padded
    return [tile.inner for tile in cover(height, width, side or max(height, width), 0)]


def places(parsed: Container) -> list[Place]:
    """The streams of a parsed file of a learned codec; CorruptFile where one would be for too many pixels."""
    geometry, tiles = geometry_of(parsed.header), parsed.tiles
    if tiles is None and np.prod(geometry.padded) > spec.MAX_STREAM_PIXELS:
        raise CorruptFile(f"one stream for {geometry.width}x{geometry.height} pixels: must be cut into tiles")
    areas = _areas(geometry, None if tiles is None else tiles.side)
    return [Place(area, slices) for area, slices in zip(areas, parsed.streams, strict=True)]


def count_slices(codec: StreamCodec[A, W, S], parsed: Container, streams: Sequence[Place]) -> tuple[int, int]:
    """How many slices of each stream are there, and how many there were.

    CorruptFile where streams disagree, where some are missing of a file that is not cut, and where it is cut within a
    chunk that is not the next slice as the first ones announce it: another length is damage.
    """
    announced = [codec.slice_lengths(place.slices[0]) for place in streams]
    if len({len(lengths) for lengths in announced}) != 1:
        raise CorruptFile("tiles of different numbers of slices")
    here, all_ = len(streams[0].slices), 1 + len(announced[0])
    if here > all_ or (here < all_ and parsed.cut is None):
        raise CorruptFile(f"{here} slices, and the first one announces {all_}")
    if parsed.cut is not None:
        kind, length = parsed.cut
        lengths = [part[here - 1] for part in announced] if here < all_ else []
        told = sum(lengths) + (0 if parsed.tiles is None else sum(len(varint(part)) for part in lengths))
        if (kind is not None and (kind == spec.MORE) != (here < all_)) or (lengths and length not in (None, told)):
            raise CorruptFile(f"slice {here + 1} of {all_} is not what the first one announces")
    return here, all_


class Reader(Generic[A, W, S]):
    """Reads the symbols of a file's streams, one at a time.

    Parameters
    ----------
    codec : StreamCodec
    parsed : Container
        Of that codec.

    Attributes
    ----------
    slices : (int, int)
        How many of each stream are there, and of how many.
    """

    def __init__(self, codec: StreamCodec[A, W, S], parsed: Container) -> None:
        self.codec, self.places, self.geometry = codec, places(parsed), geometry_of(parsed.header)
        self.slices = count_slices(codec, parsed, self.places)
        self._shift, self._coder = parsed.header.level_shift, coder_name(parsed.header.coder)
        self._symbols: dict[Area, S] = {}
        self._planes: dict[Area, Planes] = {}

    def frame(self, place: Place) -> Frame:
        """What is known of a stream."""
        return Frame(place.area.geometry, self._coder, self._shift)

    def each(self) -> Iterator[S]:
        """Symbols of every stream; CorruptFile where one is damaged."""
        return (self._read(place) for place in self.places)

    def check_first(self, area: Area) -> None:
        """Read the first stream that an area has part in: CorruptFile for nonsense before a network is loaded."""
        first = next(place for place in self.places if place.area.common(area))
        self._symbols[first.area] = self._read(first)

    def symbols(self) -> S:
        """Those of the whole picture, put together."""
        parts = list(self.each())
        return self.codec.gathered([plane.values for plane in self._joined([part.grids for part in parts])])

    def importance(self) -> Plane:
        """Importance of each place of the picture, in [0, 1]."""
        parts = [(self.codec.importance_of(self._read(place), self.frame(place)),) for place in self.places]
        return self._joined(parts)[0]

    def block_bits(self) -> Plane:
        """Bits that each block costs, (hb, wb); they add up to those of all streams."""
        parts = [(Plane(self.codec.block_bits(p.slices, self.frame(p)), BLOCK),) for p in self.places]
        return self._joined(parts)[0]

    def __call__(self, area: Area) -> Planes:
        """What the generator takes for an area on multiples of 64.

        For areas asked for from the top to the bottom: what lies above is forgotten.
        """
        self._planes = {known: planes for known, planes in self._planes.items() if known.bottom > area.top}
        places = [place for place in self.places if place.area.common(area)]
        for place in places:
            if place.area not in self._planes:
                read = self._symbols.pop(place.area) if place.area in self._symbols else self._read(place)
                self._planes[place.area] = self.codec.planes(read, self.frame(place))
        return joined(area, [place.area for place in places], [self._planes[place.area] for place in places])

    def _read(self, place: Place) -> S:
        return self.codec.read(place.slices, self.frame(place))

    def _joined(self, parts: Sequence[Planes]) -> Planes:
        """Planes of all streams as those of the picture."""
        height, width = self.geometry.padded
        return joined(Area(0, height, 0, width), [place.area for place in self.places], parts)


def joined(area: Area, areas: Sequence[Area], parts: Sequence[Planes]) -> Planes:
    """Any number of planes of an area from those of the areas that have part in it; CorruptFile where the streams of a
    picture disagree about their kind."""
    if list(areas) == [area]:
        return parts[0]
    kinds = {tuple((p.values.shape[:-2], p.values.dtype, p.stride) for p in planes) for planes in parts}
    if len(kinds) != 1:
        raise CorruptFile("tiles of different kinds in one picture")
    whole: list[Plane] = []
    for shape, dtype, stride in next(iter(kinds)):
        rows, columns = (area.bottom - area.top) // stride, (area.right - area.left) // stride
        whole.append(Plane(np.empty((*shape, rows, columns), dtype), stride))
    for place, planes in zip(areas, parts, strict=True):
        common = place.common(area)
        assert common is not None
        for plane, part in zip(whole, planes, strict=True):
            target, source = (common.seen_from(a).sites(plane.stride) for a in (area, place))
            plane.values[target] = part.values[source]
    return tuple(whole)
