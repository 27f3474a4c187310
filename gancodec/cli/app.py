"""The ``gancodec`` command: its sub-commands, ``--version``, and what happens to errors that no command caught."""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer

from gancodec import __version__
from gancodec.cli.batch import batch
from gancodec.cli.decode import decode
from gancodec.cli.encode import encode
from gancodec.cli.evaluate import evaluate
from gancodec.cli.export import export
from gancodec.cli.info import info
from gancodec.cli.inspect import inspect
from gancodec.cli.models import known, models
from gancodec.cli.saliency import saliency
from gancodec.cli.sizes import sizes
from gancodec.cli.train import train
from gancodec.cli.tune_curve import tune_curve
from gancodec.cli.verify import verify
from gancodec.container import spec
from gancodec.messages import FAILED, describe, printable, writing_standard_output

HELP = """A learned image codec: `gancodec encode photo.png --bpp 0.1` writes photo.gic, `gancodec decode photo.gic`
writes photo.png.

A decoded picture may contain synthesised detail that was not in the original. Do not use it where such detail could
mislead: medicine, evidence, documents.

Exit codes: 0 done, 1 failed (or one of several inputs did), 2 usage, 3 input unreadable, damaged or not supported,
4 model or optional package missing, 5 size missed with --strict, 6 output exists, 130 interrupted.
"""

INTERRUPTED = 130
END_SIGNALS = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))

# Plain help: drawing it with rich would double the time that --help takes.
app = typer.Typer(name="gancodec", help=HELP, rich_markup_mode=None)
for command in (encode, decode, batch, info, verify, models, inspect, saliency, export):
    app.command()(command)
app.command("eval")(evaluate)
app.command("tune-curve")(tune_curve)
app.add_typer(sizes)
app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train)


def _version(asked: bool) -> None:
    if not asked:
        return
    print(f"gancodec {__version__}")
    print(f"format gic {spec.MAJOR}.{spec.MINOR}")
    installed = [model for model in known() if model.installed]
    for model in installed:
        mark = " default" if model.default else ""
        print(f"model {model.name} (id {model.id}, hash {model.entropy_hash.hex()}){mark}")
    if not installed:
        print("no model installed")
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
            raise
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
