"""What the evaluation asks of a codec, and how one that knows quality settings only gives it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gancodec.evaluate.match import match
from gancodec.types import Pixels


class Coded(NamedTuple):
    """One real file.

    Attributes
    ----------
    data : bytes
    setting : float
        The codec's own quality setting.
    seconds : float
        To encode once at that setting.
    search_seconds : float
        To find it as well.
    reached : {"yes", "nearest", "no"}
        Is the size asked for met; "nearest" where the codec's steps are too coarse, "no" beyond its range.
    """

    data: bytes
    setting: float
    seconds: float
    search_seconds: float
    reached: str


class Session(Protocol):
    """One picture in one codec; remembers what it encoded, as searches for several rates meet the same settings."""

    def at_setting(self, setting: float) -> Coded:
        """Encode at the codec's own quality setting."""

    def at_size(self, size: int) -> Coded:
        """Encode to `size` bytes, as near as the codec gets."""


class Codec(Protocol):
    """A codec under test: its column name, the suffix of its files, what its settings are called, and those for curves
    at one setting for all pictures."""

    @property
    def name(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def settings(self) -> Sequence[float]: ...

    @property
    def fingerprint(self) -> str:
        """Whatever changes when its files may change: version, settings, hash of the weights."""

    def open(self, rgb: Pixels) -> Session:
        """Start with a picture, (H, W, 3) uint8."""

    def decode(self, data: bytes) -> Pixels:
        """File to (H, W, 3) uint8."""


@dataclass(frozen=True)
class Peer:
    """A codec that knows quality settings only.

    Attributes
    ----------
    ladder : sequence of float
        Every setting it has, in the order of growing files.
    settings : sequence of float
        Some of them, for curves at one setting for all pictures.
    """

    name: str
    suffix: str
    unit: str
    ladder: Sequence[float]
    settings: Sequence[float]
    encode: Callable[[Pixels, float], bytes]
    decode: Callable[[bytes], Pixels]
    version: str
    command: str

    @property
    def fingerprint(self) -> str:
        """Version and how it is called."""
        return f"{self.version}; {self.command}"

    def open(self, rgb: Pixels) -> PeerSession:
        """Start with a picture."""
        return PeerSession(self, rgb)


@dataclass
class PeerSession:
    """One picture in a peer."""

    peer: Peer
    rgb: Pixels
    known: dict[float, Coded] = field(default_factory=dict)

    def at_setting(self, setting: float) -> Coded:
        """Encode once; the next time the same file is at hand."""
        if setting not in self.known:
            started = time.perf_counter()
            data = self.peer.encode(self.rgb, setting)
            seconds = time.perf_counter() - started
            self.known[setting] = Coded(data, setting, seconds, seconds, "yes")
        return self.known[setting]

    def at_size(self, size: int) -> Coded:
        """Search the ladder for the file nearest to `size`."""
        started = time.perf_counter()
        ladder = self.peer.ladder
        places = {setting: place for place, setting in enumerate(ladder)}
        sizes = {places[setting]: len(coded.data) for setting, coded in self.known.items() if setting in places}
        found = match(lambda place: len(self.at_setting(ladder[place]).data), len(ladder), size, sizes)
        coded = self.at_setting(ladder[found.place])
        return coded._replace(search_seconds=time.perf_counter() - started, reached=found.reached)
