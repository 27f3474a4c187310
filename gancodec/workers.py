"""Worker processes on this machine: each keeps what it has loaded, and has one item of work in hand at a time.

A worker that dies takes nothing with it but the item that it had in hand, and another one takes its place. Ctrl-C is
answered by the parent alone; workers end with it, through their clean-up code.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, NamedTuple, NoReturn, TypeVar

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
QUOTA = "/sys/fs/cgroup/cpu.max"  # of a container, which may be less than the cores that it sees
STOPPING = 10.0  # seconds that workers have to end by themselves

Item = TypeVar("Item", bound=tuple[object, ...])
Result = TypeVar("Result")


class Dead(NamedTuple):
    """Stands for the result of an item that a worker died with; `reason` is one line for the user."""

    reason: str


class Raised(NamedTuple):
    """Stands for the result of an item whose work raised: the error, and its traceback, which pipes do not take."""

    error: Exception
    trace: str


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


class Pool:
    """Up to `count` workers with `threads` CPU threads each. Leaving the context ends them, whatever they do."""

    def __init__(self, count: int, threads: int) -> None:
        self.count, self.threads = count, threads
        self.free: list[_Worker] = []
        self.busy: dict[Connection, _Worker] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers; one that is writing removes its unfinished file first."""
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

    def run(
        self, work: Callable[..., Result], items: Iterable[Item], retries: int = 0
    ) -> Iterator[tuple[Item, Result | Dead]]:
        """Each item with `work(*item)`, in the order in which they finish.

        Parameters
        ----------
        work : callable
            A worker gets it by name, or whatever else pickles; what it raises is raised here.
        items : iterable of tuple
            Asked for as workers become free.
        retries : int
            How often an item is tried again when a worker died with it in hand.
        """
        fresh, again = ((item, 0) for item in items), deque[tuple[Item, int]]()
        held: dict[Connection, tuple[Item, int]] = {}  # items in hand, and how many workers died with each
        while True:
            while len(held) < self.count:
                given = again.popleft() if again else next(fresh, None)
                if given is None:
                    break
                held[self._give(work, given[0])] = given
            if not held:
                return
            ready = wait(list(held))
            for link in [link for link in held if link in ready]:
                item, deaths = held.pop(link)
                result = self._take(link)
                if isinstance(result, Raised):
                    raise result.error from RuntimeError(f"in a worker process\n{result.trace}")
                if isinstance(result, Dead) and deaths < retries:
                    again.append((item, deaths + 1))
                else:
                    yield item, result

    def _give(self, work: Callable[..., object], item: tuple[object, ...]) -> Connection:
        """Hand an item to a free worker, or a new one."""
        worker = self.free.pop() if self.free else None
        if worker is None or not worker.give(work, item):  # it may have died while it was free
            worker = _Worker(self.threads)
            worker.give(work, item)  # dead already? then `_take` will tell
        self.busy[worker.link] = worker
        return worker.link

    def _take(self, link: Connection) -> Any:
        """What came of the item in hand. A dead worker is buried, any other is free again."""
        worker = self.busy.pop(link)
        try:
            result = link.recv()
        except (EOFError, OSError):
            link.close()
            return Dead(worker.fate())
        self.free.append(worker)
        return result


class _Worker:
    """A process with this end of its pipe."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process that runs PyTorch may hang
        self.link, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _threads(threads), _no_interruption():
            self.process.start()
        theirs.close()  # else its death would not close the pipe

    def give(self, work: Callable[..., object], item: tuple[object, ...]) -> bool:
        """Hand it an item; False where it is dead."""
        try:
            self.link.send((work, item))
        except OSError:
            return False
        return True

    def fate(self) -> str:
        """Reason of its death, as one line for the user."""
        self.process.join(STOPPING)
        code = self.process.exitcode or 0
        if code >= 0:
            return f"a worker process ended with exit code {code}"
        hint = "; out of memory?" if -code == signal.Signals.SIGKILL else ""
        return f"a worker process was killed by {signal.Signals(-code).name}{hint}"


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


def _serve(link: Connection) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # its parent has gone, or has no more use for it
        while True:
            work, item = link.recv()
            try:
                result = work(*item)
            except Exception as error:
                result = Raised(error, traceback.format_exc())
            link.send(result)


def _end_with_parent() -> None:
    """Waiting at the pipe would do, were it not for work that takes minutes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Leave through the clean-up code, so that no temporary file stays behind."""
    sys.exit(128 + number)
