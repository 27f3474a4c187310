"""An evaluation from start to end: plan, work in processes, resume, and the figures that need a whole set."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gancodec import imageio
from gancodec.errors import GicError, UnreadablePicture
from gancodec.evaluate import codecs, groups, speed
from gancodec.evaluate.job import Job, Plan, Source, keys, meter_of, run, warm
from gancodec.evaluate.rows import Log, Row, key_of

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Progress(Protocol):
    """Told of stages and of what is done."""

    def stage(self, name: str, total: int) -> None:
        """A new stage of `total` steps begins."""
        ...

    def step(self) -> None:
        """One step is done."""
        ...


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


def names_of(plan: Plan) -> list[str]:
    """Column name of every codec; raises as `codecs.get` does."""
    return [codecs.get(name, plan.device, realism).name for name, realism in plan.codecs]


def sources_of(paths: Sequence[tuple[str, str]], plan: Plan) -> tuple[list[Source], list[Row]]:
    """Readable pictures with unique names, and a row for each broken one.

    `paths` are (file, name) pairs; names lose their suffix, and folders in them become part of the name.
    """
    good, broken, taken, seen = [], [], set(), set()
    for path, relative in paths:
        place = os.path.realpath(path)
        if place in seen or Path(place).is_relative_to(plan.folder.resolve()):
            continue  # named twice, or a result of an earlier run
        seen.add(place)
        stem = os.path.splitext(relative)[0].replace(os.sep, "_")
        name = next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, len(paths) + 2))) if n not in taken)
        taken.add(name)
        try:
            imageio.load(path, plan.max_pixels)
            good.append(Source(path, name, hashlib.sha256(Path(path).read_bytes()).hexdigest()))
        except (GicError, OSError) as error:
            broken.append(Row(key_of(path), name, "", "", 0, "error", error=" ".join(str(error).split())))
    return good, broken


def evaluate(plan: Plan, paths: Sequence[tuple[str, str]], jobs: int, progress: Progress) -> Outcome:
    """Measure all pictures in all codecs; what the folder of results holds already is not done again.

    Raises UnreadablePicture where there is nothing to measure, GicError where a worker process dies.
    """
    for name, realism in plan.codecs:
        warm(name, plan.device, realism)  # what is not there, or cannot do this, is said before any work
    meter_of(plan.backbones, plan.saliency).load()
    groups.load(plan.backbones)
    plan.folder.mkdir(parents=True, exist_ok=True)
    sources, broken = sources_of(paths, plan)
    if not sources:
        raise UnreadablePicture(
            f"no picture to measure: {broken[0].picture}: {broken[0].error}" if broken else "no pictures"
        )
    outcome = Outcome(plan, sources, broken=broken)
    with _pool(jobs) as submit:
        outcome.rows = _rows(plan, sources, submit, progress)
        outcome.sets = _sets(plan, outcome, submit, progress)
    if plan.speed:
        outcome.speed = _speed(plan, outcome, progress)
    return outcome


Submit = Callable[..., "Future[Any]"]


@contextmanager
def _pool(jobs: int) -> Iterator[Submit]:
    """Worker processes that share the cores; with one job the work is done here."""
    if jobs <= 1:
        yield _at_once
        return
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, threads))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_start_worker)
    try:
        with _ctrl_c_ignored():  # which the processes that start now inherit, from their first instruction on
            for _ in range(jobs):
                pool.submit(int)
        yield pool.submit
    except BrokenProcessPool as error:
        raise GicError("a worker process died (out of memory?); run again to go on, with fewer --jobs") from error
    finally:
        # After an interruption the workers are in the middle of something that nobody wants any more.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_worker() -> None:
    """Ctrl-C goes to every process of the terminal; only the parent should answer it. Without a parent, end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _at_once(work: Callable[..., Any], *arguments: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(work(*arguments))
    return future


def _rows(plan: Plan, sources: Sequence[Source], submit: Submit, progress: Progress) -> list[Row]:
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
    for result in _results(submit, run, [(plan, *task) for task in tasks]):
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


def _results(submit: Submit, work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """Results as they come. Here and now where there is no pool, so that each is kept before the next begins."""
    if submit is _at_once:
        for task in tasks:
            yield work(*task)
        return
    for future in as_completed([submit(work, *task) for task in tasks]):
        yield future.result()


def _sets(
    plan: Plan, outcome: Outcome, submit: Submit, progress: Progress
) -> dict[tuple[str, str, float], dict[str, float]]:
    log = Log(plan.folder / "sets.jsonl")
    paths = {source.name: source.path for source in outcome.sources}
    work: list[tuple[Any, ...]] = []
    order: dict[tuple[str, str, float], str] = {}
    for name, realism in plan.codecs:
        codec = codecs.get(name, plan.device, realism)
        for point in plan.points(codec):
            mine = [r for r in outcome.rows if r.codec == codec.name and r.point == point and r.measured]
            if len(mine) < len(outcome.sources):
                continue  # figures of a part of the set cannot be compared with those of the whole
            key = key_of(sorted(r.key for r in mine), groups.fingerprint(plan.backbones))
            order[(codec.name, point.kind, point.value)] = key
            if log.figures(key) is None:
                pairs = [(paths[r.picture], str(plan.folder / r.file)) for r in mine]
                work.append((key, plan, name, realism, pairs))
    progress.stage("sets of patches", len(work) if groups.fingerprint(plan.backbones) else 0)
    if groups.fingerprint(plan.backbones):
        for key, figures in _results(submit, groups.measure, work):
            log.add([{"key": key, "figures": figures}])
            progress.step()
    found = {place: log.figures(key) for place, key in order.items()}
    return {place: figures for place, figures in found.items() if figures is not None}


def _speed(plan: Plan, outcome: Outcome, progress: Progress) -> dict[str, speed.Figures]:
    """Each codec in turn, on the first picture, at its point nearest to the middle rate."""
    log = Log(plan.folder / "speed.jsonl")
    progress.stage("speed", len(plan.codecs))
    found = {}
    first = outcome.sources[0]
    mine = [r for r in outcome.rows if r.picture == first.name and r.measured and r.bpp]
    common = sorted(plan.rates)[len(plan.rates) // 2] if plan.rates else float(np.median([r.bpp for r in mine] or [1]))
    for name, realism in plan.codecs:
        codec = codecs.get(name, plan.device, realism)
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
