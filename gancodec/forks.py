"""Forks of a process that encodes or decodes: they wait for what other threads are at, and the child can go on.

A forked child has the locks of all threads and the thread that forked alone: a lock that another one holds, of an
import, Pillow, oneDNN or ours, nobody will ever open there. And OpenMP would wait for its threads, so PyTorch gets
one in the child. OpenCV misses none of its own and must be left alone: told to end them, it would wait for them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 60.0  # seconds that a fork waits: what is not done by then may be waiting for the thread that forks

_change = threading.Condition()
_working: Counter[int] = Counter()  # calls in progress by thread
_forking: set[int] = set()  # threads that fork, or wait for that
_used = False  # until then the program's threads are its own business
_forked = False  # and PyTorch, if it was there, has not been told


@contextmanager
def unforked() -> Iterator[None]:
    """Work that no other thread may fork in the midst of; may be nested, and decorates functions too."""
    thread = threading.get_ident()
    with _change:
        _change.wait_for(lambda: not _forking or thread in _working)
        _working[thread] += 1
    try:
        if not _used:
            _use()
        if _forked:
            _one_thread()
        yield
    finally:
        with _change:
            _working[thread] -= 1
            if not _working[thread]:
                del _working[thread]
            _change.notify_all()


def _use() -> None:
    """Hooks that come last run first: a fork that had logging's lock, say, would wait in vain for who wants it."""
    global _used
    import concurrent.futures.thread  # noqa: F401  # which has such hooks, and brings logging, which has them too

    _used = True
    _register()


def _before() -> None:
    if threading.get_ident() not in _forking:
        _change.acquire()  # and held until the fork is done
        _forking.add(threading.get_ident())
        _change.wait_for(lambda: _working.keys() <= _forking, PATIENCE)


def _in_parent() -> None:
    if threading.get_ident() in _forking:
        _forking.discard(threading.get_ident())
        _change.notify_all()
        _change.release()


def _in_child() -> None:
    global _change, _forked
    _change = threading.Condition()
    _forking.clear()
    for thread in _working.keys() - {threading.get_ident()}:
        del _working[thread]
    _forked = True
    if _used:
        _one_thread()


def _one_thread() -> None:
    """In the child, at once or at its first use: PyTorch's other threads are not there, whoever started them."""
    global _forked
    _forked = False
    set_num_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if set_num_threads is not None:
        set_num_threads(1)


def _register() -> None:
    if hasattr(os, "register_at_fork"):  # Windows has no forks
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


_register()
