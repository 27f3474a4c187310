"""The job function: one input to one output and one record, whoever runs it: this process, a worker or a cluster."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import os
import platform
import stat
import sys
import time
import traceback
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from gancodec import container
from gancodec._version import __version__
from gancodec.batch import files
from gancodec.batch.files import Job, Saving
from gancodec.errors import GicError, UnreadablePicture
from gancodec.messages import describe
from gancodec.options import DecodeOptions, EncodeOptions
from gancodec.sources import open_source

if TYPE_CHECKING:
    from gancodec.tiling import Progress
    from gancodec.types import Geometry

LARGE = 1 << 22  # pixels of a picture that takes so long that progress is shown from its start
TRIM_FROM = 1 << 25  # bytes that a process has grown by since; after every input it would cost a fifth of the time
Record = dict[str, Any]
_trimmed = 0  # what was resident after the last trimming


@dataclass(frozen=True)
class Task:
    """What is done with every input of a batch; it can be pickled.

    Attributes
    ----------
    options : EncodeOptions or DecodeOptions
        Which of them it is says what is done.
    saving : Saving
    kind : str
        Picture format that is decoded to.
    """

    options: EncodeOptions | DecodeOptions
    saving: Saving = Saving()
    kind: str = "png"


class Outcome(NamedTuple):
    """What came of one job: its record, which JSON can hold, and the traceback of an error."""

    record: Record
    trace: str = ""


def failure(job: Job, error: BaseException) -> Outcome:
    """Outcome of a job that failed outside the job function."""
    text, code = describe(error)
    record = {"file": job.source, "output": job.target, "error": text, "exit_code": code, "version": __version__}
    return Outcome(record, "".join(traceback.format_exception(error)).rstrip())


def run(job: Job, task: Task, content: bytes | None = None, progress: Progress | None = None) -> Outcome:
    """Read, convert and write one input. Every error but a closed standard output becomes a record.

    Parameters
    ----------
    job : Job
    task : Task
    content : bytes, optional
        The input where it has been read already.
    progress : callable, optional
        Told of how much of a picture is done.

    Returns
    -------
    Outcome
        Its record has file, output, version, source_bytes and sha256 (of the input), seconds, and what `_encode`
        or `_decode` say; ``skipped`` where the input is the one that the manifest knows; ``error`` and ``exit_code``
        where it failed.
    """
    started = time.perf_counter()
    record: Record = {"file": job.source, "output": job.target, "version": __version__}
    trace = ""
    try:
        opened, start = _opened(job, task) if content is None else (io.BytesIO(content), None)
        with opened as stream:
            record["source_bytes"], record["sha256"] = stream.seek(0, os.SEEK_END), _sha256(stream)
            if job.known and record["sha256"] == job.known:
                return Outcome({**record, "skipped": True})
            stream.seek(0)
            if isinstance(task.options, EncodeOptions):
                data, facts = _encode(stream, task.options, record["source_bytes"], progress)
            else:
                data, facts = _decode(stream, start, task.options, task.kind, progress)
        files.write(job, data, task.saving)
        record |= facts
    except BrokenPipeError:  # nobody reads our output any more: no failure of this input
        raise
    except Exception as error:
        record["error"], record["exit_code"] = describe(error)
        trace = traceback.format_exc().rstrip()
    trim_memory()
    return Outcome({**record, "seconds": round(time.perf_counter() - started, 3)}, trace)


def trim_memory() -> None:
    """Give freed memory back to the system, where the C library can and the process has grown by TRIM_FROM.

    Pictures of many sizes leave glibc's heaps in pieces: over 1,000 of them a process had grown from 0.4 to 1.3 GB.
    """
    global _trimmed
    if sys.platform != "linux" or _resident() - _trimmed < TRIM_FROM:
        return
    with contextlib.suppress(AttributeError):  # a C library that is not glibc
        ctypes.CDLL(None).malloc_trim(0)
    _trimmed = _resident()


def _resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run_noted(job: Job, task: Task, content: bytes | None = None) -> Outcome:
    """`run` for processes that nobody watches: the record has which process it was, and the library's own warnings
    (out of GPU memory, say)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = run(job, task, content)
    record = {**outcome.record, "worker": f"{platform.node()}:{os.getpid()}"}
    told = [" ".join(str(w.message).split()) for w in caught if issubclass(w.category, RuntimeWarning)]
    if told:
        record["warnings"] = [*record.get("warnings", ()), *told]
    return outcome._replace(record=record)


def load(task: Task) -> None:
    """Load the model that this process will need, and keep it. What is missing, every outcome will say."""
    from gancodec.codec.api import preload

    with contextlib.suppress(GicError):
        preload(task.options)


def _opened(job: Job, task: Task) -> tuple[BinaryIO, container.Start | None]:
    """The input, and the header of a .gic file, of which nothing is read where that refuses it."""
    if not isinstance(task.options, DecodeOptions):
        return open_source(job.source, task.options.max_pixels), None
    data, start = files.read_gic(job.source, task.options.max_pixels)
    return io.BytesIO(data), start


def _sha256(stream: BinaryIO) -> str | None:
    """Of the whole stream; None for devices, which may have no end."""
    if not isinstance(stream, io.BytesIO) and not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return None
    digest = hashlib.sha256()
    try:
        stream.seek(0)
        while part := stream.read(1 << 20):
            digest.update(part)
    except OSError as error:
        raise UnreadablePicture(f"cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _encode(
    stream: BinaryIO, options: EncodeOptions, source_bytes: int, progress: Progress | None
) -> tuple[bytes, Record]:
    """Bytes of the output, and what the record says of it."""
    from gancodec import imageio
    from gancodec.codec.api import describe_miss, encode_picture

    picture = imageio.load(stream, options.max_pixels)
    _begin(progress, picture.geometry)
    coded = encode_picture(picture, options, progress=progress)
    height, width = picture.rgb.shape[:2]
    told = [*coded.notices] if coded.hit else [*coded.notices, describe_miss(coded, options)]
    if (size := len(coded.data)) > source_bytes:
        told.append(f"the .gic file ({size} bytes) is larger than its source ({source_bytes} bytes)")
    return coded.data, {
        "width": width,
        "height": height,
        "bytes": len(coded.data),
        "bpp": coded.bpp,
        "profile": options.profile,
        "model": coded.model,
        "n": coded.n,
        "probes": coded.probes,
        "hit": coded.hit,
        "warnings": told,
    }


def _begin(progress: Progress | None, size: Geometry | container.Header) -> None:
    """Show progress of a large picture before there is any."""
    if progress is not None and size.width * size.height >= LARGE:
        progress(0, 0)


def _decode(
    stream: BinaryIO, start: container.Start | None, options: DecodeOptions, kind: str, progress: Progress | None
) -> tuple[bytes, Record]:
    """The same for a .gic file."""
    from gancodec import imageio
    from gancodec.codec.api import decode_parsed, parse

    data = stream.read()
    parsed = parse(data, options, start)
    _begin(progress, parsed.header)
    picture, model = decode_parsed(parsed, options, progress)
    target = io.BytesIO()
    notices = imageio.save(picture, target, kind)
    height, width = picture.rgb.shape[:2]
    header = parsed.header
    return target.getvalue(), {
        "format": kind,
        "width": width,
        "height": height,
        "bytes": target.tell(),
        "bpp": 8 * len(data) / (header.width * header.height),
        "model": model,
        "comment": picture.comment,
        "warnings": list(dict.fromkeys([*picture.notices, *notices])),
    }
