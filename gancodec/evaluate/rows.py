"""Results as rows: one for each picture, codec and point; kept in a file that grows while the work goes on."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gancodec import atomic

RATE, SETTING = "rate", "setting"


class Point(NamedTuple):
    """What is asked of a codec: bits per pixel of the file (`kind` "rate"), or one of its settings ("setting")."""

    kind: str
    value: float

    @property
    def label(self) -> str:
        """As in folder names and tables."""
        return f"{self.value:g} bpp" if self.kind == RATE else f"setting {self.value:g}"


@dataclass(frozen=True)
class Row:
    """One picture in one codec at one point.

    Attributes
    ----------
    key : str
        Hash of all that the figures depend on; the same key is never measured twice.
    reached : {"yes", "nearest", "no", "error"}
    bytes, bpp : int, float
        Of the whole file; of the codec's nearest file where the rate is not reached.
    encode_s, search_s, decode_s : float
        Warm: after a first picture, in a process that goes on.
    figures : dict of str to float
        By column name; None where a picture is too small.
    file : str
        The coded file, relative to the folder of results.
    sha256 : str
        Of that file.
    """

    key: str
    picture: str
    codec: str
    kind: str
    asked: float
    reached: str
    width: int = 0
    height: int = 0
    setting: float | None = None
    unit: str = ""
    bytes: int | None = None
    bpp: float | None = None
    encode_s: float | None = None
    search_s: float | None = None
    decode_s: float | None = None
    figures: dict[str, float | None] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""
    error: str = ""

    @property
    def point(self) -> Point:
        """What was asked."""
        return Point(self.kind, self.asked)

    @property
    def measured(self) -> bool:
        """Does it count in means?"""
        return self.reached in ("yes", "nearest")


def key_of(*parts: object) -> str:
    """Short hash of everything that a result depends on."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


class Log:
    """Rows in a JSON Lines file, appended as they come; what a killed run wrote is there for the next one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        self._cut = False  # does the file end in the middle of a line?
        if path.is_file():
            data = path.read_bytes()
            self._cut = bool(data) and not data.endswith(b"\n")
            for line in data.splitlines():
                record = _parsed(line)
                if record is not None:
                    self.records[record["key"]] = record

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Append whole lines; a line cut before them stays alone."""
        text, self._cut = "\n" * self._cut, False
        for record in records:
            self.records[record["key"]] = record
            text += json.dumps(record) + "\n"
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(text)

    def rows(self) -> dict[str, Row]:
        """Rows by key; a record that is none (of another version, or edited) is as good as absent."""
        found = {}
        for key, record in self.records.items():
            numbers = (record.get(name) for name in ("asked", "bytes", "bpp", "setting", "encode_s", "decode_s"))
            sound = all(v is None or isinstance(v, int | float) for v in numbers)
            if sound and isinstance(record.get("figures"), dict) and set(record) <= set(Row.__dataclass_fields__):
                found[key] = Row(**record)
        return found

    def figures(self, key: str) -> dict[str, Any] | None:
        """The figures of a record, or None."""
        found = self.records.get(key, {}).get("figures")
        return found if isinstance(found, dict) else None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """None for the line that an interruption cut."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("key"), str) else None


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Tidy table: one line a row, one column a figure."""
    figures = list(dict.fromkeys(name for row in rows for name in row.figures))
    plain = [name for name in Row.__dataclass_fields__ if name not in ("figures", "key")]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*plain, *figures], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) | row.figures for row in rows)
    atomic.replace(path, text.getvalue().encode("utf-8", "backslashreplace"))
