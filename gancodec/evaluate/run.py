"""An evaluation from start to end: plan, work in processes, resume, and the figures that need a whole set."""

from __future__ import annotations

import hashlib
import math
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import starmap
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from gancodec import imageio
from gancodec.errors import GicError, UnreadablePicture
from gancodec.evaluate import codecs, speed
from gancodec.evaluate.job import Job, Plan, Source, keys, meter_of, run, warm
from gancodec.evaluate.metrics import distribution
from gancodec.evaluate.rows import Log, Row, key_of
from gancodec.workers import Dead, Pool, share

Result = TypeVar("Result")


class Progress(Protocol):
    """Told of stages and of what is done."""

    def stage(self, name: str, total: int) -> None:
        """A new stage of `total` steps begins."""

    def step(self) -> None:
        """One step is done."""


@dataclass
class Outcome:
    """Everything measured.

    rows : of every picture, codec and point, in the order asked; broken pictures have one row each.
    sets : figures of whole sets of pictures (FID, KID) by (codec, kind, asked).
    speed : seconds and memory by codec, on an otherwise idle machine.
    """

    plan: Plan
    sources: list[Source]
    rows: list[Row] = field(default_factory=list)
    broken: list[Row] = field(default_factory=list)
    sets: dict[tuple[str, str, float], dict[str, float]] = field(default_factory=dict)
    speed: dict[str, speed.Figures] = field(default_factory=dict)

    @property
    def failed(self) -> list[Row]:
        """Pictures that could not be read, and files that could not be made."""
        return [*self.broken, *(row for row in self.rows if row.reached == "error")]


def sources_of(paths: Sequence[tuple[str, str, str]], plan: Plan) -> tuple[list[Source], list[Row]]:
    """Readable pictures with unique names, and a row for each broken one.

    `paths` are of a file, its name, and what is wrong with it, a folder, or "". Names lose their suffix, and folders in
    them become part of the name.
    """
    good, broken, taken, seen = [], [], set(), set()
    for path, relative, fault in paths:
        if fault:
            broken.append(Row(key_of(path), path, "", "", 0, "error", error=fault))
            continue
        place = os.path.realpath(path)
        if place in seen or Path(place).is_relative_to(plan.folder.resolve()):
            continue  # named twice, or a result of an earlier run
        seen.add(place)
        stem = os.path.splitext(relative)[0].replace(os.sep, "_")
        name = next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, len(paths) + 2))) if n not in taken)
        taken.add(name)
        try:
            if not os.path.isfile(path) and os.path.exists(path):
                raise UnreadablePicture("a pipe or a device, which can be read only once")
            imageio.load(path, plan.max_pixels)
            good.append(Source(path, name, hashlib.sha256(Path(path).read_bytes()).hexdigest()))
        except (GicError, OSError) as error:
            broken.append(Row(key_of(path), name, "", "", 0, "error", error=" ".join(str(error).split())))
    return good, broken


def evaluate(plan: Plan, paths: Sequence[tuple[str, str, str]], jobs: int, progress: Progress) -> Outcome:
    """Measure all pictures in all codecs; what the folder of results holds already is not done again.

    Raises UnreadablePicture where there is nothing to measure, GicError where a worker process dies.
    """
    for name, realism in plan.codecs:
        warm(name, plan.device, realism)  # what is not there, or cannot do this, is said before any work
    meter_of(plan.backbones, plan.saliency).load()
    distribution.load(plan.backbones)
    plan.folder.mkdir(parents=True, exist_ok=True)
    sources, broken = sources_of(paths, plan)
    if not sources:
        raise UnreadablePicture(
            f"no picture to measure: {broken[0].picture}: {broken[0].error}" if broken else "no pictures"
        )
    outcome = Outcome(plan, sources, broken=broken)
    with Pool(jobs, share(jobs)) if jobs > 1 else nullcontext() as pool:
        outcome.rows = _rows(plan, sources, pool, progress)
        outcome.sets = _sets(plan, outcome, pool, progress)
    if plan.speed:
        outcome.speed = _speed(plan, outcome, progress)
    return outcome


def _rows(plan: Plan, sources: Sequence[Source], pool: Pool | None, progress: Progress) -> list[Row]:
    log = Log(plan.folder / "rows.jsonl")
    done = {key for key, row in log.rows().items() if row.reached != "error" and _still_there(plan, row)}
    order: list[str] = []
    tasks: list[tuple[Job, frozenset[str]]] = []
    for source in sources:
        for name, realism in plan.codecs:
            job = Job(source, name, realism)
            wanted = list(keys(plan, job))
            order += wanted
            if not set(wanted) <= done:
                tasks.append((job, frozenset(wanted) - done))
    progress.stage("pictures x codecs", len(tasks))
    for result in _results(pool, run, [(plan, *task) for task in tasks]):
        log.add(asdict(row) for row in result)
        progress.step()
    rows = log.rows()
    return [rows[key] for key in order]


def _still_there(plan: Plan, row: Row) -> bool:
    """Is the coded file the one that was measured?"""
    path = plan.folder / row.file
    if not row.file or not path.is_file():
        return not row.file
    data = path.read_bytes()
    return len(data) == row.bytes and row.sha256 in ("", hashlib.sha256(data).hexdigest())


def _results(pool: Pool | None, work: Callable[..., Result], tasks: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
    """Results as they come. Here and now where there is no pool, so that each is kept before the next begins."""
    if pool is None:
        yield from starmap(work, tasks)
        return
    for _, result in pool.run(work, tasks):
        if isinstance(result, Dead):
            raise GicError("a worker process died (out of memory?); run again to go on, with fewer --jobs")
        yield result


def _sets(
    plan: Plan, outcome: Outcome, pool: Pool | None, progress: Progress
) -> dict[tuple[str, str, float], dict[str, float]]:
    network = distribution.fingerprint(plan.backbones)
    if not network:
        return {}
    log = Log(plan.folder / "sets.jsonl")
    paths = {source.name: source.path for source in outcome.sources}
    work: list[tuple[Any, ...]] = []
    order: dict[tuple[str, str, float], str] = {}
    for (name, realism), codec in plan.under_test.items():
        for point in plan.points(codec):
            mine = [r for r in outcome.rows if r.codec == codec.name and r.point == point and r.measured]
            if len(mine) < len(outcome.sources):
                continue  # figures of a part of the set cannot be compared with those of the whole
            key = key_of(sorted(r.key for r in mine), network)
            order[(codec.name, point.kind, point.value)] = key
            if log.figures(key) is None:
                pairs = [(paths[r.picture], str(plan.folder / r.file)) for r in mine]
                work.append((key, plan, name, realism, pairs))
    progress.stage("sets of patches", len(work))
    for key, figures in _results(pool, _set_figures, work):
        log.add([{"key": key, "figures": figures}])
        progress.step()
    found = {place: log.figures(key) for place, key in order.items()}
    return {place: figures for place, figures in found.items() if figures is not None}


def _set_figures(
    key: str, plan: Plan, name: str, realism: float, pairs: Sequence[tuple[str, str]]
) -> tuple[str, dict[str, float]]:
    """In a worker: figures of a set of (original, coded file) paths; with `key` back."""
    codec = codecs.get(name, plan.device, realism)
    return key, distribution.measure(plan.backbones, pairs, codec.decode, plan.max_pixels)


def _speed(plan: Plan, outcome: Outcome, progress: Progress) -> dict[str, speed.Figures]:
    """Each codec in turn, on the first picture, at its point nearest to the middle rate."""
    log = Log(plan.folder / "speed.jsonl")
    progress.stage("speed", len(plan.codecs))
    found = {}
    first = outcome.sources[0]
    mine = [r for r in outcome.rows if r.picture == first.name and r.measured and r.bpp]
    common = sorted(plan.rates)[len(plan.rates) // 2] if plan.rates else float(np.median([r.bpp for r in mine] or [1]))
    for (name, realism), codec in plan.under_test.items():
        rows = [r for r in mine if r.codec == codec.name]
        if rows:
            row = min(rows, key=lambda r: abs(math.log((r.bpp or 1) / common)))
            key = key_of("speed", row.key, platform.node())
            figures = log.figures(key)
            if figures is None:
                figures = {"bpp": row.bpp, **speed.measure(name, realism, plan, first.path, float(row.setting or 0))}
                log.add([{"key": key, "figures": figures, "picture": first.name}])
            found[codec.name] = figures
        progress.step()
    return found
