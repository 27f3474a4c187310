"""One input and its output: reading, refusing what must not be written, writing whole or not at all."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from gancodec import atomic, container
from gancodec.codec.inputs import read_bounded
from gancodec.container import spec
from gancodec.errors import GicError, OutputExists, UnreadablePicture, UsageError
from gancodec.messages import printable, writing_standard_output
from gancodec.sources import PIPE, reason, standard_input


class Job(NamedTuple):
    """One input and where its result goes; either may be ``-``. `target` is empty for commands that only read.

    `known` is the SHA-256 that the input had when its output was made; where it still has it, nothing is left to do.
    `fault` says why a folder, as the input, could not be searched.
    """

    source: str
    target: str = ""
    known: str = ""
    fault: str = ""

    @property
    def name(self) -> str:
        """The input's name in messages."""
        return "standard input" if self.source == PIPE else printable(self.source)

    @property
    def target_name(self) -> str:
        """The output's name in messages."""
        return "standard output" if self.target == PIPE else printable(self.target)


class Saving(NamedTuple):
    """What to do about outputs that exist, and about their times.

    With `repeat`, an output that is there already with the very same bytes is a success: work may be done again after
    a worker died, or where a run was stopped between an output and its line in the manifest.
    """

    overwrite: bool = False
    skip_existing: bool = False
    preserve_times: bool = False
    repeat: bool = False

    def skips(self, job: Job) -> bool:
        """Is this job done already?"""
        return self.skip_existing and os.path.isfile(job.target) and not is_stream(job.target)


def is_stream(target: str) -> bool:
    """Is this standard output, an open file by a name such as /dev/stdout, a pipe or a device?"""
    if target == PIPE or atomic.descriptor(target) is not None:
        return True
    return os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target)


def check_target(job: Job, overwrite: bool) -> None:
    """Refuse, before any work is done, a target that must not be written.

    Raises
    ------
    UsageError
        For a folder, for the input itself, and for binary data to a terminal.
    OutputExists
        If the file exists and `overwrite` is false.
    """
    number = 1 if job.target == PIPE else atomic.descriptor(job.target)
    if number == 1 and sys.__stdout__ is None:
        raise UsageError("standard output is closed")
    if sys.stdout.isatty() if number == 1 else number is not None and os.isatty(number):
        raise UsageError("not writing binary data to a terminal: redirect it, or name a file with -o")
    if job.target == PIPE:
        return
    target = Path(job.target)
    try:
        folder, file = target.is_dir(), target.is_file()
    except OSError as error:  # a name that is too long, say
        raise GicError(f"{target} cannot be written: {reason(error)}") from error
    if folder:
        raise UsageError(f"{target} is a folder; use -d for that")
    if not file:
        return
    if job.source != PIPE and os.path.exists(job.source) and target.samefile(job.source):
        raise UsageError("the output is the input itself; name another with -o")
    if not overwrite and number is None:
        raise exists(job)


def exists(job: Job) -> OutputExists:
    """What to say where the output is there and must not be replaced."""
    return OutputExists(f"{job.target} exists (-f overwrites, --skip-existing passes over it)")


def read_gic(source: str, max_pixels: int = spec.MAX_PIXELS) -> tuple[bytes, container.Start]:
    """All bytes of a .gic file, and its header, which is sound.

    Raises
    ------
    UnreadablePicture
        If there is no such file, or it cannot be read.
    CorruptFile, UnsupportedFile
        By the header, before anything behind it is read: another format, damage, more than `max_pixels`, or a file that
        is longer than any with this header.
    """
    try:
        with nullcontext(standard_input()) if source == PIPE else open(source, "rb") as handle:
            return read_bounded(handle, max_pixels)
    except OSError as error:
        raise UnreadablePicture(f"cannot be read: {reason(error)}") from error


def write(job: Job, data: bytes, saving: Saving) -> None:
    """Write the result: whole or not at all, or to standard output.

    Raises
    ------
    GicError
        If it cannot be written; no part of it is left behind then.
    """
    if saving.repeat and _holds(job.target, data):
        return
    check_target(job, saving.overwrite)
    if job.target == PIPE or atomic.descriptor(job.target) == 1:
        with writing_standard_output():
            left = memoryview(data)
            while left:  # under PYTHONUNBUFFERED a write to a pipe or a full disk may take a part only
                left = left[sys.stdout.buffer.write(left) or 0 :]
            sys.stdout.buffer.flush()
        return
    target = Path(job.target)
    try:
        times = os.stat(job.source) if saving.preserve_times and job.source != PIPE else None
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(target, data, times, new=not saving.overwrite)
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.isfile(target):  # another process was faster
            if saving.repeat and _holds(job.target, data):
                return
            raise exists(job) from error
        raise GicError(f"{job.target} cannot be written: {reason(error)}") from error


def _holds(target: str, data: bytes) -> bool:
    """Is there a file with exactly these bytes?"""
    try:
        return os.path.getsize(target) == len(data) and Path(target).read_bytes() == data
    except OSError:
        return False
