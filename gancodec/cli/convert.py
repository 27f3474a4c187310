"""What encode, decode and batch share: jobs that become outcomes, one after the other, and what is told of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from gancodec.batch import job, local, manifest
from gancodec.batch.files import Job, check_target
from gancodec.batch.job import Outcome, Record, Task
from gancodec.batch.manifest import Done, Manifest
from gancodec.cli.report import Report
from gancodec.errors import UnreadablePicture, UsageError
from gancodec.workers import cores, share

Engine = Callable[[Iterable[Job], Task, int], local.Outcomes]  # of the jobs to do; the number is of all inputs
Show = Callable[[Record, Report], None]


def local_engine(
    todo: Iterable[Job], task: Task, inputs: int, report: Report, jobs: int, threads: int | None, retries: int = 0
) -> local.Outcomes:
    """On this machine: this process, with a progress bar for each large picture, or worker processes.

    `jobs` is the number of workers, 0 for one for each core; `threads` are of each, None for what suits the cores.
    """
    workers = min(jobs or cores(), inputs)
    if workers <= 1:
        return _here(todo, task, report)
    return local.run(todo, task, workers, threads or share(workers), retries)


def _here(todo: Iterable[Job], task: Task, report: Report) -> local.Outcomes:
    for asked in todo:
        with report.picture() as told:
            outcome = job.run(asked, task, progress=told)
        yield outcome


@dataclass
class Totals:
    """Figures of a whole run."""

    counts: Counter[str] = field(default_factory=Counter)  # inputs by what became of them, and bytes before and after
    bpp: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def add(self, record: Record) -> None:
        """Count one record."""
        kind = "skipped" if record.get("skipped") else "failed" if "error" in record else "done"
        self.counts[kind] += 1
        if kind == "done":
            self.counts.update(before=record["source_bytes"], after=record["bytes"])
            self.bpp += record["bpp"]

    def __str__(self) -> str:
        """One line."""
        seconds, done = time.perf_counter() - self.started, self.counts["done"]
        parts = [f"{self.counts[kind]} {kind}" for kind in ("done", "skipped", "failed")]
        if done:
            parts += [f"{self.counts['before']} -> {self.counts['after']} bytes", f"mean {self.bpp / done:.4f} bpp"]
            parts.append(f"{done / seconds:.2f} pictures/s")
        return ", ".join([*parts, f"{seconds:.1f} s"])


@dataclass
class Run:
    """One run of encode, decode or batch.

    Attributes
    ----------
    report : Report
    task : Task
    show : callable
        Tells of the record of a success.
    log : str, optional
        Path of the manifest to append to.
    resume : bool
        Pass over what the manifest says is done.
    settings : str
        Key of all that decides an output besides its input; goes into each line of the manifest.
    """

    report: Report
    task: Task
    show: Show
    log: str | None = None
    resume: bool = False
    settings: str = field(init=False)

    def __post_init__(self) -> None:
        self.settings = manifest.settings_key(self.task.options, self.task.kind) if self.log else ""

    def __call__(self, plan: Callable[[], list[Job]], engine: Engine) -> int:
        """Do all jobs of `plan`, going on after errors; the exit code."""
        totals = Totals()
        with ExitStack() as stack:
            try:
                jobs = plan()
                log = stack.enter_context(Manifest(self.log)) if self.log else None  # none is read but a sound one
                earlier = manifest.read(self.log) if self.resume and self.log else {}
            except Exception as error:
                return self.report.fail("", error)
            advance = stack.enter_context(self.report.progress(len(jobs)))

            def tell(outcome: Outcome) -> None:
                totals.add(outcome.record)
                if log is not None and not outcome.record.get("skipped"):
                    log.add({**outcome.record, "settings": self.settings})
                self._tell(outcome)
                advance()

            outcomes = engine(self._todo(jobs, earlier, tell), self.task, len(jobs))
            for outcome in stack.enter_context(closing(outcomes)):
                tell(outcome)
        if len(jobs) > 1:
            self.report.say(str(totals))
        return self.report.finish(len(jobs))

    def _todo(self, jobs: list[Job], earlier: dict[str, Done], tell: Callable[[Outcome], None]) -> Iterator[Job]:
        """Jobs that are not done and may be done; the others are told here."""
        saving, strict = self.task.saving, getattr(self.task.options, "strict", False)
        for asked in jobs:
            try:
                if asked.fault:
                    raise UnreadablePicture(asked.fault)
                if saving.skips(asked):
                    tell(Outcome({"file": asked.source, "output": asked.target, "skipped": True}))
                    continue
                resumed = manifest.resumed(asked, earlier.get(asked.source), self.settings, saving, strict)
                check_target(asked, saving.overwrite or saving.repeat)
            except Exception as error:
                tell(job.failure(asked, error))
                continue
            yield resumed

    def _tell(self, outcome: Outcome) -> None:
        record, name = outcome.record, Job(outcome.record["file"]).name
        if record.get("skipped"):
            self.report.detail(f"{name}: skipped, {record['output']} exists")
        elif "error" in record:
            self.report.failed(name, record["error"], record["exit_code"], outcome.trace)
        else:
            for text in record["warnings"]:
                self.report.warn(name, text)
            self.show(record, self.report)
        self.report.record(record)


def check_jobs(inputs: list[str], jobs: int, log: str | None) -> None:
    """UsageError for what several workers, or a manifest, cannot be used with."""
    if jobs != 1 and len(inputs) > 1 and "-" in inputs:
        raise UsageError("standard input (-) among several inputs and --jobs exclude each other")
    if log in ("", "-"):
        raise UsageError("--manifest needs the name of a file (--json writes to standard output)")
