"""The unit of work: one picture in one codec, at every point. Runs in a worker process and never raises for a picture
or a codec that fails."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from gancodec import atomic, imageio
from gancodec.codec import read_allocation
from gancodec.container import MAX_PIXELS
from gancodec.errors import GicError
from gancodec.evaluate import codecs
from gancodec.evaluate.contract import Codec, Session
from gancodec.evaluate.metrics.quality import Meter
from gancodec.evaluate.ours import Ours
from gancodec.evaluate.rows import RATE, Point, Row, key_of
from gancodec.types import Pixels

WARM_UP = 128  # side in pixels of what a codec runs on first, so that loading weights is not timed


@dataclass(frozen=True)
class Plan:
    """What an evaluation measures; the same for all of its jobs.

    Attributes
    ----------
    codecs : tuple of (str, float)
        Name and realism.
    rates : tuple of float
        Bits per pixel for every picture.
    sweep : bool
        Also measure each codec at its own settings, the same for all pictures.
    folder : Path
        Where results go.
    backbones : Path or None
        With the weights of feature networks.
    speed : bool
        Also time each codec alone, in fresh processes.
    """

    codecs: tuple[tuple[str, float], ...]
    rates: tuple[float, ...]
    sweep: bool
    folder: Path
    backbones: Path | None = None
    saliency: str = "combined"
    device: str = "auto"
    max_pixels: int = MAX_PIXELS
    speed: bool = True

    @property
    def under_test(self) -> dict[tuple[str, float], Codec]:
        """The codecs themselves; raises as `codecs.get` does."""
        return {(name, realism): codecs.get(name, self.device, realism) for name, realism in self.codecs}

    def points(self, codec: Codec) -> list[Point]:
        """Everything asked of a codec."""
        points = [Point(RATE, rate) for rate in sorted(self.rates)]
        return points + [Point("setting", setting) for setting in codec.settings] * self.sweep


@dataclass(frozen=True)
class Source:
    """A picture to measure: file, unique name, SHA-256 of the file."""

    path: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Job:
    """One picture in one codec."""

    source: Source
    codec: str
    realism: float


def keys(plan: Plan, job: Job) -> dict[str, Point]:
    """Key of each row that the job makes."""
    codec = codecs.get(job.codec, plan.device, job.realism)
    meter = meter_of(plan.backbones, plan.saliency).fingerprint()
    identity = (job.source.sha256, job.source.name, codec.name, codec.fingerprint, plan.device, meter)
    return {key_of(*identity, point): point for point in plan.points(codec)}


@lru_cache(maxsize=4)
def meter_of(folder: Path | None, saliency: str) -> Meter:
    """The metrics, made once in a process."""
    return Meter(folder, saliency)


@lru_cache(maxsize=32)
def warm(name: str, device: str, realism: float) -> None:
    """Run a codec once in this process, so that loading it is not timed; raises what it raises."""
    codec = codecs.get(name, device, realism)
    noise = np.random.default_rng(0).integers(0, 256, (WARM_UP, WARM_UP, 3), np.uint8)
    codec.decode(codec.open(noise).at_setting(codec.settings[len(codec.settings) // 2]).data)


def run(plan: Plan, job: Job, wanted: frozenset[str]) -> list[Row]:
    """Measure the rows whose keys are wanted."""
    codec = codecs.get(job.codec, plan.device, job.realism)
    todo = [(key, point) for key, point in keys(plan, job).items() if key in wanted]
    try:
        rgb = imageio.load(job.source.path, plan.max_pixels).rgb
        warm(job.codec, plan.device, job.realism)
        session = codec.open(rgb)
    except Exception as error:
        return [_failed(key, point, job, codec, error) for key, point in todo]
    return [_row(plan, job, codec, session, rgb, key, point) for key, point in todo]


def _failed(key: str, point: Point, job: Job, codec: Codec, error: Exception) -> Row:
    known = isinstance(error, GicError)
    text = " ".join((str(error) if known else f"{type(error).__name__}: {error}").split())
    return Row(key, job.source.name, codec.name, *point, "error", error=text)


def _row(plan: Plan, job: Job, codec: Codec, session: Session, rgb: Pixels, key: str, point: Point) -> Row:
    try:
        return _measure(plan, job, codec, session, rgb, key, point)
    except Exception as error:
        return _failed(key, point, job, codec, error)


def _measure(plan: Plan, job: Job, codec: Codec, session: Session, rgb: Pixels, key: str, point: Point) -> Row:
    height, width = rgb.shape[:2]
    pixels = height * width
    if point.kind == RATE:
        coded = session.at_size(max(1, int(point.value * pixels / 8)))
    else:
        coded = session.at_setting(point.value)
    file = file_name(codec, point, job.source.name)
    row = Row(
        key,
        job.source.name,
        codec.name,
        *point,
        coded.reached,
        width,
        height,
        setting=coded.setting,
        unit=codec.unit,
        bytes=len(coded.data),
        bpp=8 * len(coded.data) / pixels,
        encode_s=coded.seconds,
        search_s=coded.search_seconds,
    )
    if coded.reached == "no":
        return row
    target = plan.folder / file
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic.replace(target, coded.data)
    started = time.perf_counter()
    decoded = codec.decode(target.read_bytes())
    decode_s = time.perf_counter() - started
    figures = meter_of(plan.backbones, plan.saliency).measure(rgb, decoded)
    # The share of blocks with more bits than the mean: what the context-aware paper calls the high-quality region.
    hq_ratio = read_allocation(coded.data).facts.get("hq_ratio") if isinstance(codec, Ours) else None
    figures |= {"ratio": 3 * pixels / len(coded.data), "hq-ratio": hq_ratio}
    return replace(row, decode_s=decode_s, figures=figures, file=file, sha256=hashlib.sha256(coded.data).hexdigest())


def file_name(codec: Codec, point: Point, picture: str) -> str:
    """Where a coded file lies below the folder of results."""
    return "/".join(("files", slug(codec.name), slug(point.label), picture + codec.suffix))


def slug(name: str) -> str:
    """A name for files."""
    return re.sub(r"[^\w.=-]+", "-", name)
