"""The manifest: one line of JSON for each input, appended when it is finished, and what a later run learns from it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, BinaryIO, NamedTuple

from gancodec.batch.files import Job, Saving
from gancodec.batch.job import Record
from gancodec.errors import GicError, MissingWeights, OutputExists, UsageError
from gancodec.options import DecodeOptions, EncodeOptions
from gancodec.sources import read_source

KEPT_OUT = ("device", "max_pixels", "strict", "partial")  # options that decide whether there is an output, not which


class Manifest(AbstractContextManager["Manifest"]):
    """A manifest to append to. Each line reaches the system before the next begins: a killed run loses none of them,
    and leaves at most a last line that is cut.

    Raises
    ------
    UsageError
        If there is a file that is no manifest.
    GicError
        If it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            self._file: BinaryIO = open(path, "a+b", buffering=0)
        except OSError as error:
            raise GicError(f"manifest {path} cannot be written: {error.strerror or error}") from error
        if not self._file.seekable():
            self._file.close()
            raise UsageError(f"manifest {path}: a pipe or a terminal keeps nothing, name a file")
        size = self._file.seek(0, os.SEEK_END)
        first, last = self._byte(0), self._byte(max(size - 1, 0))
        if first not in (b"", b"{"):
            self._file.close()
            raise UsageError(f"{path} is there and is no manifest")
        self._cut = last not in (b"", b"\n")

    def _byte(self, place: int) -> bytes:
        self._file.seek(place)
        return self._file.read(1)

    def add(self, record: Record) -> None:
        """Append one line; a line that was cut before it stays alone."""
        line, self._cut = "\n" * self._cut + json.dumps(record) + "\n", False
        try:
            self._file.write(line.encode())
        except OSError as error:
            raise GicError(f"manifest {self.path} cannot be written: {error.strerror or error}") from error

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Done(NamedTuple):
    """An output of an earlier run: where, how large, made with which settings of an input with which SHA-256, and
    whether it has the size that was asked for."""

    output: str
    bytes: int
    settings: str
    sha256: str
    hit: bool


def read(path: str) -> dict[str, Done]:
    """What is done, by input; the last line of an input counts. Lines that were cut are passed over.

    Raises GicError where the file is there and cannot be read.
    """
    found: dict[str, Done] = {}
    try:
        with open(path, "rb") as lines:
            for record in _records(lines):
                done = _done(record)
                if done is None:
                    found.pop(record["file"], None)
                else:
                    found[record["file"]] = done
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise GicError(f"manifest {path} cannot be read: {error.strerror or error}") from error
    return found


def _records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("file"), str):
            yield record


def _done(record: dict[str, Any]) -> Done | None:
    """None for failures and for lines that lack something."""
    try:
        done = Done(**{name: ({"hit": True} | record)[name] for name in Done._fields})
    except KeyError:
        return None
    kinds = (str, int, str, str, bool)
    return done if "error" not in record and all(map(isinstance, done, kinds)) else None


def resumed(job: Job, done: Done | None, settings: str, saving: Saving, strict: bool = False) -> Job:
    """The job with what is known of its input, where nothing but a change of the input could make it necessary.

    Raises OutputExists where the output is there, but was made with other settings, or, with `strict`, missed its size.
    """
    if done is None or done.output != job.target or saving.overwrite or not os.path.exists(job.target):
        return job
    if done.settings != settings:
        raise OutputExists(f"{job.target} was made with other settings (-f replaces it)")
    if strict and not done.hit:
        raise OutputExists(f"{job.target} is there and missed the size asked for (-f tries again)")
    return job._replace(known=done.sha256) if os.path.getsize(job.target) == done.bytes else job


def settings_key(options: EncodeOptions | DecodeOptions, kind: str) -> str:
    """16 hex digits that differ wherever anything but the input would make another output.

    They are of the options, the weights (encoding: the model's; decoding: only where a model is named, as files name
    theirs) and the content of the maps that options name; not of the version of this package, which records have.
    """
    values = {name: value for name, value in asdict(options).items() if name not in KEPT_OUT}
    values |= {"does": type(options).__name__, "kind": kind, "weights": _weights(options)}
    maps = (str(values.get(name) or "").removeprefix("file:") for name in ("roi", "saliency"))
    values["maps"] = [hashlib.sha256(read_source(path)).hexdigest() for path in maps if os.path.isfile(path)]
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _weights(options: EncodeOptions | DecodeOptions) -> str:
    from gancodec.codec.api import model_of

    try:
        info = model_of(options)
    except MissingWeights:  # which every picture will tell
        return ""
    return "" if info is None else info.sha256
