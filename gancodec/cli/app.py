"""The ``gancodec`` command: its sub-commands, ``--version``, and what happens to errors that no command caught."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from gancodec import __version__
from gancodec.container import spec
from gancodec.messages import FAILED, describe, lines, printable, writing_standard_output

HELP = """A learned image codec: `gancodec encode photo.png --bpp 0.1` writes photo.gic, `gancodec decode photo.gic`
writes photo.png.

A decoded picture may contain synthesised detail that was not in the original. Do not use it where such detail could
mislead: medicine, evidence, documents.

Exit codes: 0 done, 1 failed (or one of several inputs did), 2 usage, 3 input unreadable, damaged or not supported,
4 model or optional package missing, 5 size missed with --strict, 6 output exists, 130 interrupted.
"""

INTERRUPTED = 130
END_SIGNALS = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))

# What --help says of each. They are imported when they are run: all of them would double the time that it takes.
COMMANDS = {
    "encode": "Encode pictures to .gic files.",
    "decode": "Decode .gic files to pictures.",
    "batch": "Encode or decode many pictures, and go on where it stopped.",
    "info": "Show size, model, rate and chunks of .gic files.",
    "verify": "Check structure, checksums and symbols of .gic files.",
    "models": "List the models.",
    "inspect": "Show where the bits of a picture go, as pictures.",
    "saliency": "Write what stands out of pictures, as pictures.",
    "export": "Write a model's networks as ONNX files.",
    "eval": "Measure codecs on pictures, at matched rates.",
    "tune-curve": "Measure bits per pixel at fixed n.",
    "train": "Train a model, pack training data, export weights.",
    "sizes": "Hold file sizes and qualities to a baseline.",
}
FUNCTIONS = {"eval": "evaluate", "tune-curve": "tune_curve"}  # by commands of another name; so are their modules


class Commands(TyperGroup):
    """The commands: a name and a line of help each, until one is asked for."""

    def resolve_command(self, context: Any, arguments: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the command that the first argument names."""
        if (name := arguments[0]) in COMMANDS:
            self.commands[name] = _command(name)
        return super().resolve_command(context, arguments)


def _command(name: str) -> Any:
    """A command, or group of commands, with its options."""
    function = FUNCTIONS.get(name, name)
    found = getattr(import_module(f"gancodec.cli.{function}"), function)
    if isinstance(found, typer.Typer):
        return get_command(found)
    alone = typer.Typer(rich_markup_mode=None, add_completion=False)
    alone.command(name)(found)
    return get_command(alone)


# Plain help: drawing it with rich would double the time that --help takes.
app = typer.Typer(name="gancodec", help=HELP, cls=Commands, rich_markup_mode=None)
for name, text in COMMANDS.items():
    app.command(name, help=text)(lambda: None)


@writing_standard_output()
def _tell_versions() -> None:
    print(f"gancodec {__version__}")
    print(f"format gic {spec.MAJOR}.{spec.MINOR}")
    from gancodec.weights import known

    installed = [model for model in known() if model.installed]
    for model in installed:
        mark = " default" if model.default else ""
        print(f"model {model.name} (id {model.id}, hash {model.entropy_hash.hex()}){mark}")
    if not installed:
        print("no model installed")
    sys.stdout.flush()


def _version(asked: bool) -> None:
    if asked:
        _tell_versions()
        raise typer.Exit(0)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show versions and installed models.")
    ] = False,
) -> None:
    """Options before the command; the help text is `HELP`."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code; every error becomes one line on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    _open_standard_streams()
    for number in END_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not fit the terminal's encoding
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = app(arguments, prog_name="gancodec", standalone_mode=False) or 0
        with writing_standard_output():
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # the reader has gone, as in `gancodec info *.gic | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except typer.TyperException as error:
        text = printable(" ".join(error.format_message().split()))
        print(f"gancodec: {text} (--help lists the options)", file=sys.stderr)
        code = error.exit_code
    except Exception as error:
        if "-vv" in arguments:
            print(lines(traceback.format_exc().rstrip()), file=sys.stderr)
        text, code = describe(error)
        print(f"gancodec: {text}", file=sys.stderr)
    if code == INTERRUPTED:  # Typer turns Ctrl-C into this code without a word
        print("gancodec: interrupted", file=sys.stderr)
    sys.exit(code)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning of the library (out of GPU memory, say) as one line, like every other message."""
    print(f"gancodec: warning: {printable(' '.join(str(message).split()))}", file=sys.stderr)


def _open_standard_streams() -> None:
    """Give those that were closed at the start to /dev/null: messages would go to standard output for want of a
    standard error, and what native code prints into the first files that are opened."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Leave through the clean-up code, so that no temporary file stays behind."""
    sys.exit(128 + number)
