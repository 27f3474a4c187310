"""What the commands say: messages on stderr, machine output on stdout, one exit code at the end."""

from __future__ import annotations

import itertools
import json
import sys
import textwrap
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from gancodec.batch.files import Job
from gancodec.errors import UnreadablePicture
from gancodec.messages import FAILED, describe, lines, printable, writing_standard_output

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from gancodec.tiling import Progress


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
        self._codes: list[int] = []  # of the failures
        self._bars: Bars | None = None

    def tell(self, text: str) -> None:
        """A line on stderr."""
        self._print(printable(text))

    def say(self, text: str) -> None:
        """A line on stderr, silenced by ``--quiet``."""
        if not self.quiet:
            self.tell(text)

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
                print(lines(text))

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
        self.tell(": ".join(part for part in ("gancodec", name, text) if part))
        if trace and self.verbose >= 2:
            self._print(lines(trace))
        self._codes.append(code)
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
        return self.finish(len(jobs))

    def _do(self, job: Job, work: Callable[[Job], None]) -> None:
        try:
            if job.fault:
                raise UnreadablePicture(job.fault)
            work(job)
        except BrokenPipeError:  # nobody reads our output any more: no failure of this input
            raise
        except Exception as error:
            self.fail(job.name, error)
            text, code = describe(error)
            self.record({"file": job.source, "error": text, "exit_code": code})

    def finish(self, inputs: int) -> int:
        """Say how many of several inputs failed; the exit code."""
        if not self._codes:
            return 0
        if inputs == 1:
            return self._codes[0]
        self._print(f"gancodec: {len(self._codes)} of {inputs} failed")
        return FAILED

    @writing_standard_output()
    def table(
        self,
        titles: Sequence[str],
        rows: Sequence[Sequence[str]],
        left: Collection[int],
        style: Callable[[str], str] = lambda cell: "",
    ) -> None:
        """A table on standard output, its columns `left` of text and the others of figures: drawn on a terminal, where
        that is too narrow each cell with its heading; elsewhere plain columns, however wide. `style` is of the last
        cells."""
        rows = [[printable(cell) for cell in row] for row in rows]
        if not sys.stdout.isatty():
            widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
            for row in (titles, *rows):
                cells = (
                    cell.ljust(width) if i in left else cell.rjust(width)
                    for i, (cell, width) in enumerate(zip(row, widths, strict=True))
                )
                print("  ".join(cells).rstrip())
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console, drawn = Console(), Table()
        for number, title in enumerate(titles):
            drawn.add_column(title, justify="left" if number in left else "right", no_wrap=True)
        for row in rows:
            drawn.add_row(*map(Text, row[:-1]), Text(row[-1], style(row[-1])))
        if console.measure(drawn, options=console.options.update(max_width=1 << 16)).maximum <= console.width:
            console.print(drawn)
            return
        for name, *rest in rows:
            parts = [f"{title}: {cell}" for title, cell in zip(titles[1:], rest, strict=True) if cell]
            text = ", ".join(part.replace(" ", "\xa0") for part in parts)  # lines end between parts
            told = textwrap.wrap(text, max(console.width - 2, 1), break_long_words=False, break_on_hyphens=False)
            print("\n  ".join([name, *told]).replace("\xa0", " "))

    @contextmanager
    def picture(self) -> Iterator[Progress]:
        """A progress bar of one large picture, on a terminal; call it as a `Progress`."""
        with ExitStack() as stack:
            bars: list[Callable[[int, int], None]] = []

            def told(done: int, total: int) -> None:
                if self.quiet or (total == 1 and not bars) or not sys.stderr.isatty():
                    return
                if not bars:
                    bars.append(stack.enter_context(self.bar(total, "picture")))
                bars[0](done, total)

            yield told

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[], None]]:
        """A progress bar on a terminal; call what it gives after each input."""
        if self.quiet or total < 2 or not sys.stderr.isatty():
            yield lambda: None
            return
        with self.bar(total) as completed:
            count = itertools.count(1)
            yield lambda: completed(next(count), total)

    @contextmanager
    def bar(self, total: int, name: str = "") -> Iterator[Progress]:
        """A progress bar, below others; call what it gives as a `Progress`. One with a name leaves nothing behind."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        with ExitStack() as stack:
            if self._bars is None:
                columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
                self._bars = stack.enter_context(Bars(*columns, console=Console(stderr=True), transient=bool(name)))
                stack.callback(setattr, self, "_bars", None)
            bars, task = self._bars, self._bars.add_task(name, total=total or None)
            if name:
                stack.callback(bars.remove_task, task)
                stack.callback(bars.refresh)
            yield lambda done, of: bars.update(task, completed=done, total=of or None)

    def _print(self, text: str) -> None:
        if self._bars is None:
            print(text, file=sys.stderr)
        else:  # above the progress bars
            self._bars.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
