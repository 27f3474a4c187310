"""What the command line and its workers tell: errors as one line with an exit code, names as they can be printed, and a
standard output that may be full or closed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gancodec.errors import GicError, escaped

# Regular expressions, compiled at their first use. Commands: at the start of a line; an older form anywhere in it.
COMMANDS = r"^(\s*):(?=:)|#(?=#\[)"
FAILED = 1  # exit code of what has none of its own
ACTED_ON = r"""[\\`*_{}\[\]<>#!|~&@$"']|:(?=\S)|(?<=www)\."""  # by Markdown, HTML or GitHub
ENTITIES = {"|": r"\|", "@": "&#64;&#8203;", "#": "&#35;&#8203;"}  # where the number of the character is not enough


def printable(text: str) -> str:
    """The text with escapes for what is not, and for what logs of GitHub's runners take for a command: names of files
    may hold line breaks, terminals' control sequences, and ``::error::``."""
    text = escaped(text)
    if "::" not in text and "##[" not in text:
        return text
    return re.sub(COMMANDS, lambda found: f"{found[1] or ''}\\x{ord(found[0][-1]):02x}", text)


def lines(text: str) -> str:
    """`printable` of each of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def markdown(text: str) -> str:
    """The text on one line, written so that Markdown and its tables show it as it is and link no @name or #number."""
    return re.sub(ACTED_ON, lambda m: ENTITIES.get(m[0], f"&#{ord(m[0])};"), printable(text))


def describe(error: BaseException) -> tuple[str, int]:
    """One line for the user and the exit code."""
    if isinstance(error, GicError):
        text, code = str(error), error.exit_code
    elif isinstance(error, MemoryError):
        text, code = "out of memory", FAILED
    else:
        text, code = f"unexpected {type(error).__name__}: {error} (-vv shows where)", FAILED
    return printable(" ".join(text.split())), code


@contextmanager
def writing_standard_output() -> Iterator[None]:
    """GicError for what cannot be written there, which then goes nowhere, for Python would try again at its end.

    BrokenPipeError passes: a reader that has gone is no failure.
    """
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise GicError(f"standard output cannot be written: {error.strerror or error}") from error
