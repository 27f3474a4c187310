"""What the commands say: messages on stderr, machine output on stdout, one exit code at the end."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gancodec.cli.files import Job, Saving, check_target, printable, writing_standard_output
from gancodec.errors import GicError

if TYPE_CHECKING:
    from rich.console import Console

FAILED = 1
INTERRUPTED = 130


def describe(error: BaseException) -> tuple[str, int]:
    """One line for the user and the exit code."""
    if isinstance(error, GicError):
        text, code = str(error), error.exit_code
    elif isinstance(error, MemoryError):
        text, code = "out of memory", FAILED
    else:
        text, code = f"unexpected {type(error).__name__}: {error} (-vv shows where)", FAILED
    return printable(" ".join(text.split())), code


class Report:
    """Collects what happened to each input.

    Parameters
    ----------
    quiet : bool
        Only errors are printed.
    verbose : int
        1 adds details, 2 tracebacks.
    as_json : bool
        One JSON object per input on stdout (JSON Lines).
    """

    def __init__(self, *, quiet: bool = False, verbose: int = 0, as_json: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.as_json = as_json
        self._failures: list[tuple[str, str, int]] = []
        self._console: Console | None = None

    def say(self, text: str) -> None:
        """A message on stderr, silenced by ``--quiet``."""
        if not self.quiet:
            self._print(text)

    def detail(self, text: str) -> None:
        """A message for ``-v``."""
        if self.verbose:
            self.say(text)

    def skipped(self, job: Job) -> None:
        """Tell that a job was passed over, for ``--skip-existing``."""
        self.detail(f"{job.name}: skipped, {job.target} exists")
        self.record({"file": job.source, "output": job.target, "skipped": True})

    def warn(self, name: str, text: str) -> None:
        """Something that the user should know about a result that was written."""
        self.say(f"gancodec: {name}: warning: {text}")

    def result(self, text: str, record: dict[str, Any]) -> None:
        """A result that is asked for on stdout: as text, or as one JSON object with ``--json``."""
        if self.as_json:
            self.record(record)
        elif not self.quiet:
            with writing_standard_output():
                print(text)

    def record(self, record: dict[str, Any]) -> None:
        """One line of JSON on stdout, if ``--json`` was given."""
        if self.as_json:
            with writing_standard_output():
                print(json.dumps(record), flush=True)

    def fail(self, name: str, error: BaseException) -> int:
        """Print one line for an error; return its exit code."""
        text, code = describe(error)
        self._print(": ".join(part for part in ("gancodec", name, text) if part))
        if self.verbose >= 2:
            self._print("".join(traceback.format_exception(error)).rstrip())
        self._failures.append((name, text, code))
        return code

    def run(self, plan: Callable[[], Sequence[Job]], work: Callable[[Job], None], saving: Saving | None = None) -> int:
        """Do `work` for every job, going on after errors; with `saving`, only where the target may be written.

        Returns
        -------
        int
            0; the error's own exit code where there was a single input; 1 where one of several failed.
        """
        try:
            jobs = plan()
        except Exception as error:
            return self.fail("", error)
        with self._progress(len(jobs)) as advance:
            for job in jobs:
                self._do(job, work, saving)
                advance()
        return self._finish(len(jobs))

    def _do(self, job: Job, work: Callable[[Job], None], saving: Saving | None) -> None:
        try:
            if saving is not None and saving.skips(job):
                self.skipped(job)
                return
            if saving is not None:
                check_target(job, saving.overwrite)
            work(job)
        except BrokenPipeError:  # nobody reads our output any more: no failure of this input
            raise
        except Exception as error:
            self.fail(job.name, error)
            text, code = describe(error)
            self.record({"file": job.source, "error": text, "exit_code": code})

    def _finish(self, total: int) -> int:
        if not self._failures:
            return 0
        if total == 1:
            return self._failures[0][2]
        self._print(f"gancodec: {len(self._failures)} of {total} failed:")
        for name, text, _ in self._failures:
            self._print(f"  {name}: {text}")
        return FAILED

    @contextmanager
    def _progress(self, total: int) -> Iterator[Callable[[], None]]:
        if self.quiet or total < 2 or not sys.stderr.isatty():
            yield lambda: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._console = Console(stderr=True)
        with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=self._console) as bar:
            task = bar.add_task("", total=total)
            try:
                yield lambda: bar.advance(task)
            finally:
                self._console = None

    def _print(self, text: str) -> None:
        if self._console is None:
            print(text, file=sys.stderr)
        else:  # above the progress bar
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
