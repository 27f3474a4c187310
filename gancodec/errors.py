"""Every error that gancodec raises on purpose, and the exit code that each one gives the command line.

GicError                 1  anything below; alone: an operation failed
├── UsageError           2  options that exclude each other, values out of range
├── CorruptFile          3  the bytes are wrong: damage, truncation, junk, impossible values
│   └── CorruptTable     3  a frequency table breaks its own rules
├── UnreadablePicture    3  the input picture cannot be read
├── UnsupportedFile      3  a valid file that this build cannot decode (newer version, unknown critical chunk)
├── MissingWeights       4  the model that a file or option names is not installed, or its hash is wrong
├── MissingExtra         4  an optional package that was asked for is not installed; the message has the pip line
├── TargetMissed         5  the size asked for is missed (only under ``strict``)
└── OutputExists         6  the output file exists and overwriting was not asked for
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def escaped(text: str) -> str:
    """The text with escapes for what a terminal cannot show, or acts on."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class GicError(Exception):
    """Base of every error raised on purpose. ``exit_code`` is what the command line returns for it."""

    exit_code: int = 1

    def __str__(self) -> str:
        """One line that a terminal can show, whatever names and values are in it."""
        return escaped(" ".join(super().__str__().splitlines()))


class UsageError(GicError):
    """Options that exclude each other, or a value out of its documented range."""

    exit_code = 2


class CorruptFile(GicError):
    """The bytes are wrong: damaged, cut, followed by junk, or stating impossible values."""

    exit_code = 3


class CorruptTable(CorruptFile):
    """A frequency table breaks its own rules."""


class UnreadablePicture(GicError):
    """The input picture cannot be read, or is larger than the limit."""

    exit_code = 3


class UnsupportedFile(GicError):
    """A valid file that this build cannot decode; the message names what it would need."""

    exit_code = 3


class MissingWeights(GicError):
    """The model that a file or an option names is not installed here, or its hash does not match."""

    exit_code = 4


class MissingExtra(GicError):
    """An optional package is not installed.

    Parameters
    ----------
    what : str
        What needs it.
    extra : str
        The extra of this package that brings it.
    """

    exit_code = 4

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(what, extra)  # both, as an error that a worker raises is made anew from its arguments

    def __str__(self) -> str:
        return "{} needs an optional package: pip install 'gancodec[{}]'".format(*self.args)


def optional(module: str, what: str, extra: str, part: str | None = None) -> Any:
    """A module of an optional package, imported, or a `part` of it that not every version has.

    Raises MissingExtra, with `what` and `extra`, where it is not installed.
    """
    try:
        found = import_module(module)
        return found if part is None else getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise MissingExtra(what, extra) from error


class TargetMissed(GicError):
    """The size asked for is out of reach; raised only under ``strict``."""

    exit_code = 5


class OutputExists(GicError):
    """The output file exists and overwriting was not asked for."""

    exit_code = 6
