"""A batch on this machine: worker processes that keep the model, each with one input in hand at a time.

A worker that dies takes nothing with it but the input that it had in hand, and another one takes its place.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import stat
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import NamedTuple, NoReturn

from gancodec.batch import files, job
from gancodec.batch.files import Job
from gancodec.batch.job import Outcome, Task
from gancodec.errors import GicError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
QUOTA = "/sys/fs/cgroup/cpu.max"  # of a container, which may be less than the cores that it sees
STOPPING = 10.0  # seconds that workers have to end by themselves
HOPELESS = 3  # workers, per worker asked for, that die before any of them finished anything


Outcomes = Generator[Outcome, None, None]


class Ticket(NamedTuple):
    """A job, what had to be read here for it, and how many workers died with it in hand."""

    job: Job
    content: bytes | None = None
    deaths: int = 0


class Worker:
    """A process with its end of a pipe, and what it has in hand."""

    def __init__(self, task: Task, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process that runs PyTorch may hang
        self.link, theirs = context.Pipe()
        self.ticket: Ticket | None = None
        self.process = context.Process(target=_serve, args=(theirs, task), daemon=True)
        with _threads(threads), _no_interruption():
            self.process.start()
        theirs.close()  # else its death would not close the pipe

    def give(self, ticket: Ticket) -> bool:
        """Hand it an input; False where it is dead."""
        self.ticket = ticket
        try:
            self.link.send((ticket.job, ticket.content))
        except OSError:
            return False
        return True

    def take(self) -> Outcome | None:
        """What came of the input in hand; None if the worker died."""
        try:
            outcome: Outcome = self.link.recv()
        except (EOFError, OSError):
            return None
        return outcome

    def fate(self) -> str:
        """How it died."""
        self.process.join(STOPPING)
        code = self.process.exitcode or 0
        if code >= 0:
            return f"a worker process ended with exit code {code}"
        hint = "; out of memory?" if -code == signal.Signals.SIGKILL else ""
        return f"a worker process was killed by {signal.Signals(-code).name}{hint}"


class Pool:
    """Workers, those free and those busy, and the inputs that have to be tried again.

    `retries` is how often that is done with an input that a worker died with; `threads` are of each worker.
    """

    def __init__(self, task: Task, threads: int, retries: int) -> None:
        self.task, self.threads, self.retries = task, threads, retries
        self.free: list[Worker] = []
        self.busy: dict[Connection, Worker] = {}
        self.again: deque[Ticket] = deque()
        self.deaths, self.proven = 0, False

    def give(self, ticket: Ticket) -> None:
        """To a free worker, or a new one."""
        worker = self.free.pop() if self.free else None
        if worker is None or not worker.give(ticket):  # it may have died while it was free
            worker = Worker(self.task, self.threads)
            worker.give(ticket)  # dead already? then `take` will tell
        self.busy[worker.link] = worker

    def take(self) -> Iterator[Outcome]:
        """Wait for at least one busy worker; what they finished, and the inputs that are given up."""
        for link in wait(list(self.busy)):
            worker = self.busy.pop(link)  # type: ignore[call-overload]
            outcome = worker.take()
            if outcome is None:
                yield from self._bury(worker)
            else:
                self.proven = True
                self.free.append(worker)
                yield outcome

    def _bury(self, worker: Worker) -> Iterator[Outcome]:
        """Try again what a dead worker had in hand, or give it up."""
        assert worker.ticket is not None
        self.deaths += 1
        ticket = worker.ticket._replace(deaths=worker.ticket.deaths + 1)
        fate = worker.fate()
        worker.link.close()
        if ticket.deaths <= self.retries:
            self.again.append(ticket)
        else:
            times = f" ({ticket.deaths} times)" if ticket.deaths > 1 else ""
            yield job.failure(ticket.job, GicError(f"{fate} while it had this input in hand{times}"))
        if not self.proven and self.deaths >= HOPELESS * (1 + len(self.busy)) * (1 + self.retries):
            raise GicError(f"{fate}, as all before it: workers cannot run here (fewer --jobs?)")

    def stop(self) -> None:
        """End all workers, whatever they do; one that is writing removes its unfinished file first."""
        workers = [*self.free, *self.busy.values()]
        for worker in workers:
            worker.process.terminate()
        deadline = time.monotonic() + STOPPING
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.link.close()


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
    queue = iter(jobs)
    pool = Pool(task, threads, retries)
    try:
        while True:
            while len(pool.busy) < workers:
                ticket = pool.again.popleft() if pool.again else _next(queue)
                if ticket is None:
                    break
                if isinstance(ticket, Outcome):
                    yield ticket
                else:
                    pool.give(ticket)
            if not pool.busy:
                return
            yield from pool.take()
    finally:
        pool.stop()


def _next(queue: Iterator[Job]) -> Ticket | Outcome | None:
    """The next job; pipes are read here, as names such as /dev/fd/63 mean something in this process only.

    Devices, which may have no end, are left to the worker.
    """
    asked = next(queue, None)
    if asked is None:
        return None
    if not os.path.exists(asked.source) or not stat.S_ISFIFO(os.stat(asked.source).st_mode):
        return Ticket(asked)
    try:
        with files.open_source(asked.source) as stream:
            return Ticket(asked, stream.read())
    except Exception as error:
        return job.failure(asked, error)


def cores() -> int:
    """CPU cores that this process may use, at least 1: those it is bound to, within a container's quota."""
    bound = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        with open(QUOTA, encoding="ascii") as handle:
            quota, period = handle.read().split()
        return max(1, min(bound, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file; "max" is no number
        return bound


def share(workers: int) -> int:
    """CPU threads for each of so many workers."""
    return max(1, cores() // workers)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """What a process that starts now may use; numpy and PyTorch read these when they are imported."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def _no_interruption() -> Iterator[None]:
    """Ctrl-C goes to every process of a terminal. A process that starts now never sees it: this one will end it."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # what starts it, as the first worker would, lets SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(link: Connection, task: Task) -> None:
    """The life of a worker; it ends with its parent, whose end of the pipe closes then."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):  # its parent has gone, or has no more use for it
        while True:
            asked, content = link.recv()
            link.send(job.run_noted(asked, task, content))


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Leave through the clean-up code, so that no temporary file stays behind."""
    sys.exit(128 + number)
