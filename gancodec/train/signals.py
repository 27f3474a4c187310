"""What happens to a run from outside: it is asked to end (SIGTERM), or was paused for a while (SIGSTOP, SIGCONT)."""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType, TracebackType

RESUMED = getattr(signal, "SIGCONT", None)  # not on Windows


class Signals:
    """Notes signals while it is entered, and how long the run has worked.

    Attributes
    ----------
    ended : bool
        Shall the run end?
    """

    def __init__(self) -> None:
        self.ended, self._paused = False, False
        self._last, self._computed = time.monotonic(), time.process_time()

    def __enter__(self) -> Signals:
        self._last, self._computed = time.monotonic(), time.process_time()
        if threading.current_thread() is threading.main_thread():  # nowhere else may handlers be set
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, RESUMED) if number}
        else:
            self._before = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.ended |= number == signal.SIGTERM
        self._paused |= number == RESUMED

    def worked(self, usual: float | None) -> float:
        """Seconds since the last call; no more than the `usual` ones, if known, where the run was paused by signals."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        if self._paused and usual is not None:
            seconds = min(seconds, usual)
        self._paused = False
        return seconds

    def computed(self) -> float:
        """CPU seconds of this process, all its threads together, since the last call."""
        now = time.process_time()
        seconds, self._computed = now - self._computed, now
        return seconds

    def leave(self) -> None:
        """Leave the process as SIGTERM would have it, if that is what ended the run."""
        if self.ended:
            sys.exit(128 + signal.SIGTERM)
