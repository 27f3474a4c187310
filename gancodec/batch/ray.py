"""A batch on a Ray cluster, through Ray Data: encoded bytes between the stages, the model loaded once a worker.

Each input has exactly one outcome. A worker that dies takes with it the task of at most `TASK` inputs that it was at;
another worker does that task again. Outputs are written whole, under names that depend on nothing but the input, and
one that is there already with the same bytes is left alone: work that is done twice does no harm.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gancodec.batch import job
from gancodec.batch.files import Job
from gancodec.batch.job import Outcome, Task
from gancodec.batch.local import Outcomes
from gancodec.errors import GicError, optional
from gancodec.sources import read_source
from gancodec.workers import THREAD_VARIABLES

TASK = 4  # inputs that a worker is given at a time, and has to do again if it dies
LARGEST = 1 << 28  # bytes; larger inputs are opened by the worker, as Ray's object store would have to hold them
PASSED_ON = ("GANCODEC_WEIGHTS",)  # variables that workers on other machines need too
Row = dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    """Where and with how many.

    Attributes
    ----------
    address : str
        Of a running cluster; "local" starts one on this machine, for this run.
    workers : int
    threads : int
        CPU threads, and Ray's CPUs, of each worker.
    gpus : float
        Of each worker; may be a fraction.
    retries : int
        How often a task is done again when a worker died at it.
    """

    address: str
    workers: int
    threads: int
    gpus: float = 0.0
    retries: int = 2


class Converter:
    """A worker: loads the model when it starts, then turns rows with content into rows with outcomes."""

    def __init__(self, task: Task) -> None:
        self.task = task
        job.load(task)

    def __call__(self, row: Row) -> Row:
        """Convert the input of one row; what `_read` says of an unreadable one is passed on."""
        if row["outcome"]:
            return {"index": row["index"], "outcome": row["outcome"]}
        asked = Job(row["source"], row["target"], row["known"])
        outcome = job.run_noted(asked, self.task, None if row["large"] else row["content"])
        return {"index": row["index"], "outcome": json.dumps(outcome)}


def _read(row: Row) -> Row:
    """Add the content of the input, or the outcome of an input that cannot be read."""
    content, outcome, large = b"", "", False
    try:
        large = os.path.getsize(row["source"]) > LARGEST if os.path.isfile(row["source"]) else False
        if not large:
            content = read_source(row["source"])
    except Exception as error:
        outcome = json.dumps(job.failure(Job(row["source"], row["target"]), error))
    return {**row, "content": content, "large": large, "outcome": outcome}


def run(jobs: Iterable[Job], task: Task, cluster: Cluster) -> Outcomes:
    """Outcomes of all jobs, in the order in which they finish.

    Inputs and outputs are paths that every machine of the cluster sees.

    Raises
    ------
    MissingExtra
        If Ray is not installed.
    GicError
        If there is no cluster, or Ray itself fails.
    """
    ray = load()
    todo = list(jobs)
    if not todo:
        return
    with _connected(ray, cluster):
        lost: Sequence[int] = range(len(todo))
        for size in (TASK, 1):  # inputs that shared a task with one that kills workers get a task of their own
            missing = set(lost)
            for index, outcome in _pass(ray, todo, lost, size, task, cluster):
                if index in missing:
                    missing.remove(index)
                    yield outcome
            lost = sorted(missing)
            if not lost:
                return
    tried = f"{2 * (1 + cluster.retries)} times"
    for index in lost:
        yield job.failure(todo[index], GicError(f"the workers that had this input in hand died or failed, {tried}"))


def _pass(
    ray: Any, jobs: list[Job], indices: Sequence[int], size: int, task: Task, cluster: Cluster
) -> Iterator[tuple[int, Outcome]]:
    """Outcomes of the jobs at `indices`, in tasks of `size`; tasks whose workers died too often are missing.

    Reading takes no core: it waits for disks, and could not begin where the workers have them all. A worker has one
    task at a time, as Ray counts the death of a worker against every task that waits at it.
    """
    rows = [{"index": i, **jobs[i]._asdict()} for i in indices]
    tasks = -(-len(rows) // size)
    workers = min(cluster.workers, tasks)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*")  # there is no other way to bound the retries
        done = (
            ray.data.from_items(rows, override_num_blocks=tasks)
            .map(_read, num_cpus=0, compute=ray.data.TaskPoolStrategy(size=min(tasks, 2 * workers)))
            .map(
                Converter,
                fn_constructor_args=(task,),
                compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
                num_cpus=cluster.threads,
                num_gpus=cluster.gpus or None,
                max_restarts=-1,
                max_task_retries=cluster.retries,
            )
        )
    try:
        for row in done.iter_rows():
            yield row["index"], Outcome(*json.loads(row["outcome"]))
    except ray.exceptions.RayError as error:
        raise GicError(f"Ray: {' '.join(str(error).split())[:300]}") from error


def load() -> Any:
    """Import Ray; MissingExtra where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns that it will not do so one day
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "CRITICAL")  # what fails is in the records
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = optional("ray", "--engine ray", "ray")
    optional("ray.data", "--engine ray", "ray")
    return ray


@contextmanager
def _connected(ray: Any, cluster: Cluster) -> Iterator[None]:
    """Join the cluster, or start one; leave it, or end it."""
    variables = dict.fromkeys(THREAD_VARIABLES, str(cluster.threads))
    variables |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    options: Row = {"runtime_env": {"env_vars": variables}, "log_to_driver": False, "logging_level": logging.CRITICAL}
    if cluster.address == "local":
        options |= {"num_cpus": cluster.workers * cluster.threads, "include_dashboard": False}
    try:
        ray.init(cluster.address, **options)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise GicError(f"no Ray cluster at {cluster.address}: {' '.join(str(error).split())[:300]}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # tasks that fail for good are missed at the end, and end nothing else
    try:
        yield
    finally:
        ray.shutdown()
