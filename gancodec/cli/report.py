"""What the commands say: messages on stderr, machine output on stdout, one exit code at the end."""

from __future__ import annotations

import itertools
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from gancodec.batch.files import Job
from gancodec.messages import FAILED, describe, writing_standard_output

if TYPE_CHECKING:
    from rich.console import Console


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
        return self.failed(name, *describe(error), "".join(traceback.format_exception(error)).rstrip())

    def failed(self, name: str, text: str, code: int, trace: str = "") -> int:
        """`fail` with an error that was described elsewhere; `trace` is for ``-vv``."""
        self._print(": ".join(part for part in ("gancodec", name, text) if part))
        if trace and self.verbose >= 2:
            self._print(trace)
        self._failures.append((name, text, code))
        return code

    def run(self, plan: Callable[[], Sequence[Job]], work: Callable[[Job], None]) -> int:
        """Do `work` for every job, going on after errors.

        Returns
        -------
        int
            0; the error's own exit code where there was a single input; 1 where one of several failed.
        """
        try:
            jobs = plan()
        except Exception as error:
            return self.fail("", error)
        with self.progress(len(jobs)) as advance:
            for job in jobs:
                self._do(job, work)
                advance()
        return self.finish(jobs)

    def _do(self, job: Job, work: Callable[[Job], None]) -> None:
        try:
            work(job)
        except BrokenPipeError:  # nobody reads our output any more: no failure of this input
            raise
        except Exception as error:
            self.fail(job.name, error)
            text, code = describe(error)
            self.record({"file": job.source, "error": text, "exit_code": code})

    def finish(self, jobs: Sequence[Job]) -> int:
        """List the failures of several inputs, in the order of the inputs; the exit code."""
        if not self._failures:
            return 0
        if len(jobs) == 1:
            return self._failures[0][2]
        names = {name for name, _, _ in self._failures}
        place = {job.name: i for i, job in enumerate(jobs) if job.name in names}
        self._print(f"gancodec: {len(self._failures)} of {len(jobs)} failed:")
        for name, text, _ in sorted(self._failures, key=lambda failure: place[failure[0]]):
            self._print(f"  {name}: {text}")
        return FAILED

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table of figures on stderr, silenced by ``--quiet``."""
        if self.quiet:
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table

        drawn = Table(box=box.SIMPLE_HEAD)
        for title in columns:
            drawn.add_column(title, justify="right")
        for row in rows:
            drawn.add_row(*row)
        Console(stderr=True).print(drawn)

    @contextmanager
    def tiles(self) -> Iterator[Callable[[int, int], None]]:
        """A progress bar of the tiles of one picture, once there are several; call it with those done, and all."""
        with ExitStack() as stack:
            bars: list[Callable[[int], None]] = []

            def told(done: int, total: int) -> None:
                if self.quiet or total < 2 or not sys.stderr.isatty():
                    return
                if not bars:
                    bars.append(stack.enter_context(self.bar(total)))
                bars[0](done)

            yield told

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[], None]]:
        """A progress bar on a terminal; call what it gives after each input."""
        if self.quiet or total < 2 or not sys.stderr.isatty():
            yield lambda: None
            return
        with self.bar(total) as completed:
            count = itertools.count(1)
            yield lambda: completed(next(count))

    @contextmanager
    def bar(self, total: int, name: str = "") -> Iterator[Callable[[int], None]]:
        """A progress bar; call what it gives with how many are done. One with a name leaves nothing behind."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        text = [TextColumn(name)] if name else []
        columns = (*text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=bool(name)) as bar:
            task = bar.add_task("", total=total)
            try:
                yield lambda done: bar.update(task, completed=done)
            finally:
                self._console = None

    def _print(self, text: str) -> None:
        if self._console is None:
            print(text, file=sys.stderr)
        else:  # above the progress bar
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
