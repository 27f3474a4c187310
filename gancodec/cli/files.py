"""Names and folders: which inputs the arguments mean, and where each result goes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from gancodec.batch.files import Job
from gancodec.errors import UnreadablePicture, UsageError
from gancodec.sources import PIPE

GIC_SUFFIXES = frozenset({".gic"})
PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"},
)


class Found(NamedTuple):
    """An input, its name below the argument it came from (the tree that ``-d`` keeps), and why it, a folder, could not
    be searched."""

    source: str
    relative: str
    fault: str = ""


def inputs(names: Iterable[str], suffixes: frozenset[str]) -> Iterator[Found]:
    """Walk the arguments; folders are searched recursively for files with one of `suffixes`.

    Folders that cannot be searched are found too, as what is in them is not.
    """
    for name in names:
        if name == PIPE or not os.path.isdir(name):
            yield Found(name, os.path.basename(name))
            continue
        found = False
        for one in _walk(name, suffixes):
            found = True
            yield one
        if not found:
            raise UnreadablePicture(f"{name}: no {'/'.join(sorted(suffixes))} file in this folder")


def _walk(name: str, suffixes: frozenset[str]) -> Iterator[Found]:
    errors: list[OSError] = []
    for folder, subfolders, files in os.walk(name, onerror=errors.append):
        subfolders.sort()
        for file in sorted(files):
            if os.path.splitext(file)[1].lower() in suffixes and not file.startswith("."):
                source = os.path.join(folder, file)
                if os.path.exists(source) and not os.path.isfile(source):
                    continue  # a pipe or a device would be waited for; named, it is read
                yield Found(source, os.path.relpath(source, name))
    for error in errors:
        place = os.fsdecode(error.filename or name)
        yield Found(place, os.path.relpath(place, name), f"folder cannot be read: {error.strerror or error}")


def reading_jobs(names: list[str]) -> list[Job]:
    """The jobs of a command that writes no files (`info`, `verify`)."""
    return [Job(found.source, fault=found.fault) for found in inputs(names, GIC_SUFFIXES)]


def writing_jobs(
    names: list[str],
    suffixes: frozenset[str],
    new_suffix: str,
    output: str | None,
    folder: str | None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Job]:
    """Decide where each result goes: `output`, below `folder`, or beside its input with `new_suffix`.

    Inputs of one name but for their suffix keep it in the names of their results, which is said once.

    Raises
    ------
    UsageError
        For options that exclude each other, and where two inputs would end in the same file all the same.
    """
    if output is not None and folder is not None:
        raise UsageError("-o and -d exclude each other")
    if names.count(PIPE) > 1:
        raise UsageError("standard input (-) can be read only once")
    if "" in names:
        raise UsageError("an input has an empty name")
    if output is not None:
        if len(names) > 1 or os.path.isdir(names[0]):
            raise UsageError("-o takes one input file; use -d DIR for several inputs or a folder")
        return [Job(names[0], output)]
    jobs: dict[tuple[str, str], Job] = {}  # what is named twice is done once
    faults = []
    for source, relative, fault in inputs(names, suffixes):
        if fault:
            faults.append(Job(source, fault=fault))
            continue
        target = _target(source, relative, new_suffix, folder)
        jobs.setdefault((os.path.abspath(source), target), Job(source, target))
    return [*_apart(list(jobs.values()), new_suffix, say), *faults]


def _apart(jobs: list[Job], suffix: str, say: Callable[[str], None]) -> list[Job]:
    """The jobs with targets that differ: those that share theirs keep the suffixes of their inputs."""
    kept: dict[str, str] = {}  # new targets by source
    while shared := _shared(jobs):
        fresh = [job for jobs_of_one in shared for job in jobs_of_one if job.source not in kept]
        if not fresh:
            one, other = shared[0][:2]
            raise UsageError(f"{one.source} and {other.source} would both become {one.target}; convert them separately")
        for source, target, *_ in fresh:
            kept[source] = os.path.join(os.path.dirname(target), os.path.basename(source) + suffix)
        jobs = [job._replace(target=kept.get(job.source, job.target)) for job in jobs]
    if kept:
        say(f"{len(kept)} inputs would share outputs: these keep their suffix, as in {next(iter(kept.values()))}")
    return jobs


def _shared(jobs: list[Job]) -> list[list[Job]]:
    """Jobs of one target each, where there are several."""
    places = [_place(job.target) for job in jobs]
    taken = Counter(places)
    found: dict[str, list[Job]] = {}
    for job, place in zip(jobs, places, strict=True):
        if taken[place] > 1:
            found.setdefault(place, []).append(job)
    return list(found.values())


def _place(path: str) -> str:
    """Where a file is, whichever way leads to its folder."""
    return path if path == PIPE else os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _target(source: str, relative: str, suffix: str, folder: str | None) -> str:
    if source == PIPE:
        if folder is not None:
            raise UsageError("standard input has no name: use -o FILE with it")
        return PIPE
    place = Path(source) if folder is None else Path(folder, relative)
    bare = place.with_suffix("")
    if place.suffix.lower() in GIC_SUFFIXES and bare.suffix.lower() == suffix:
        return str(bare)  # a.png.gic was a.png
    return str(place.with_suffix(suffix))
