"""A task that changes the worker it arrives in: it logs every start, and some inputs kill the process.

`PLANTED` names the log. An input whose name has "deadly" always kills; one with "once" does at its first start.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from gancodec.batch import job
from gancodec.batch.files import Job
from gancodec.batch.job import Outcome, Task

LOG = "PLANTED"


class PlantedTask(Task):
    """Where it is unpickled, `job.run` is changed."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if job.run is not _run:
            global _real
            _real, job.run = job.run, _run


_real = job.run


def starts() -> list[tuple[str, int]]:
    """(name of the input, process) of every start."""
    lines = Path(os.environ[LOG]).read_text(encoding="utf-8").splitlines()
    return [(name, int(process)) for name, process in (line.split("\t") for line in lines)]


def _run(asked: Job, task: Task, content: bytes | None = None) -> Outcome:
    name = Path(asked.source).name
    first = name not in [known for known, _ in starts()]
    with open(os.environ[LOG], "a", encoding="utf-8") as log:
        log.write(f"{name}\t{os.getpid()}\n")
    if "deadly" in name or ("once" in name and first):
        os.kill(os.getpid(), signal.SIGKILL)
    return _real(asked, task, content)


if __name__ == "__main__":  # `gancodec batch` with such a task; tests.planted is its name in the workers too
    from gancodec.cli import app
    from tests import planted

    job.Task = planted.PlantedTask  # type: ignore[misc]
    app.main(sys.argv[1:])
