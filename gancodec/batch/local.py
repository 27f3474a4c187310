"""A batch on this machine: inputs that become outcomes in worker processes."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable
from functools import partial

from gancodec.batch import job
from gancodec.batch.files import Job
from gancodec.batch.job import Outcome, Task
from gancodec.errors import GicError
from gancodec.sources import read_source
from gancodec.workers import Pool

HOPELESS = 3  # inputs, per worker, that are given up before any other is finished

Outcomes = Generator[Outcome, None, None]


def run(jobs: Iterable[Job], task: Task, workers: int, threads: int, retries: int = 0) -> Outcomes:
    """Outcomes of all jobs, in the order in which they finish; jobs are asked for as workers become free.

    Parameters
    ----------
    jobs : iterable of Job
    task : Task
    workers, threads : int
        Processes, and CPU threads of each.
    retries : int
        How often an input is tried again when a worker died with it in hand.

    Raises
    ------
    GicError
        If workers die and none has ever finished anything.
    """
    times = f" ({1 + retries} times)" if retries else ""
    lost, proven = 0, False
    with Pool(workers, threads) as pool:
        tickets = map(partial(_ticket, task.options.max_pixels), jobs)
        for (asked, _), outcome in pool.run(partial(_convert, task), tickets, retries):
            if isinstance(outcome, Outcome):
                proven = True
                yield outcome
                continue
            lost += 1
            yield job.failure(asked, GicError(f"{outcome.reason} while it had this input in hand{times}"))
            if not proven and lost >= HOPELESS * (1 + len(pool.busy)):
                raise GicError(f"{outcome.reason}, as all before it: workers cannot run here (fewer --jobs?)")


def _ticket(max_pixels: int, asked: Job) -> tuple[Job, bytes | Outcome | None]:
    """A job with what had to be read here for it, or what came of trying that.

    Pipes are read here, as names such as /dev/fd/63 mean something in this process only. Devices, which may have no
    end, are left to the worker.
    """
    if not os.path.exists(asked.source) or not stat.S_ISFIFO(os.stat(asked.source).st_mode):
        return asked, None
    try:
        return asked, read_source(asked.source, max_pixels)
    except Exception as error:
        return asked, job.failure(asked, error)


def _convert(task: Task, asked: Job, content: bytes | Outcome | None) -> Outcome:
    """In a worker: the outcome of a ticket, whatever happens."""
    if isinstance(content, Outcome):
        return content
    try:
        return job.run_noted(asked, task, content)
    except BrokenPipeError as error:  # an output that nobody reads: a failure of this input alone
        return job.failure(asked, error)
