"""Names and folders: which inputs the arguments mean, and where each result goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gancodec.batch.files import PIPE, Job
from gancodec.errors import UnreadablePicture, UsageError

GIC_SUFFIXES = frozenset({".gic"})
PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"},
)


def inputs(names: Iterable[str], suffixes: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Walk the arguments; folders are searched recursively for files with one of `suffixes`.

    Yields
    ------
    (source, relative)
        The file, and its name below the argument it came from (the tree that ``-d`` keeps).
    """
    for name in names:
        if name == PIPE or not os.path.isdir(name):
            yield name, os.path.basename(name)
            continue
        found = False
        for folder, subfolders, files in os.walk(name):
            subfolders.sort()
            for file in sorted(files):
                if os.path.splitext(file)[1].lower() in suffixes and not file.startswith("."):
                    source = os.path.join(folder, file)
                    if os.path.exists(source) and not os.path.isfile(source):
                        continue  # a pipe or a device would be waited for; named, it is read
                    found = True
                    yield source, os.path.relpath(source, name)
        if not found:
            raise UnreadablePicture(f"{name}: no {'/'.join(sorted(suffixes))} file in this folder")


def reading_jobs(names: list[str]) -> list[Job]:
    """The jobs of a command that writes no files (`info`, `verify`)."""
    return [Job(source) for source, _ in inputs(names, GIC_SUFFIXES)]


def writing_jobs(
    names: list[str], suffixes: frozenset[str], new_suffix: str, output: str | None, folder: str | None
) -> list[Job]:
    """Decide where each result goes: `output`, below `folder`, or beside its input with `new_suffix`.

    Raises
    ------
    UsageError
        For options that exclude each other, and where two inputs would end in the same file.
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
    jobs: list[Job] = []
    origin: dict[str, str] = {}
    for source, relative in inputs(names, suffixes):
        job = Job(source, _target(source, relative, new_suffix, folder))
        key = os.path.join(os.path.realpath(os.path.dirname(job.target)), os.path.basename(job.target))
        if key in origin:
            raise UsageError(f"{origin[key]} and {source} would both become {job.target}; encode them separately")
        origin[key] = source
        jobs.append(job)
    return jobs


def _target(source: str, relative: str, suffix: str, folder: str | None) -> str:
    if source == PIPE:
        if folder is not None:
            raise UsageError("standard input has no name: use -o FILE with it")
        return PIPE
    place = Path(source) if folder is None else Path(folder, relative)
    return str(place.with_suffix(suffix))
