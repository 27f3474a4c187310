"""The options that several commands share, and the parsing of their values."""

from __future__ import annotations

import inspect
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from gancodec.atomic import descriptor
from gancodec.batch.files import Saving
from gancodec.cli.report import Report
from gancodec.codec.options import RATES, check
from gancodec.container import spec
from gancodec.container.spec import ENTROPY_CODERS
from gancodec.errors import UsageError
from gancodec.models.registry import PROFILES
from gancodec.options import Box, EncodeOptions, parse_box
from gancodec.sources import PIPE

UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "kib": 1024, "mib": 1024**2}

ENCODING = frozenset(field.name for field in fields(EncodeOptions))
NOT_GIVEN: tuple[object, ...] = (None, (), [])


class Own(NamedTuple):
    """Of an option that one profile alone has: that profile, and what may be chosen."""

    profile: str
    choices: tuple[object, ...]


OWN = {option: Own(name, choices) for name, p in PROFILES.items() for option, choices in p.own.items()}

Device = Literal["auto", "cpu", "cuda"]
Format = Literal["png", "jpeg", "webp", "tiff"]
if TYPE_CHECKING:
    Entropy = str
    Profile = str
    Inner = str
else:  # what Typer offers and checks
    Entropy, Profile, Inner = (Literal[tuple(names)] for names in (ENTROPY_CODERS, PROFILES, OWN["inner"].choices))


def parse_size(text: str) -> int:
    """Bytes from ``30000``, ``30kB``, ``1.5MB``, ``30KiB`` (kB = 1000, KiB = 1024; case does not matter)."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([a-zA-Z]*)", text.strip())
    if match is None or match[2].lower() not in UNITS:
        raise typer.BadParameter(f"{text!r} is not a size such as 30000, 30kB or 1.5MiB")
    size = round(float(match[1]) * UNITS[match[2].lower()])
    if size < 1:
        raise typer.BadParameter("a size has to be at least one byte")
    return size


def parse_rate(text: str) -> float:
    """A finite number above zero."""
    value = parse_number(text)
    if value <= 0:
        raise typer.BadParameter(f"{text!r} is not a number above 0")
    return value


def parse_number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise typer.BadParameter(f"{text!r} is not a number")
    return value


def parse_jobs(text: str | int) -> int:
    """Number of worker processes; 0 for as many as there are cores."""
    if not re.fullmatch(r"auto|[0-9]{1,4}", str(text)):
        raise typer.BadParameter(f"{text!r} is not a number of jobs: 1 or more, or auto")
    return 0 if text == "auto" else int(text)


def parse_scale(text: str | int) -> int:
    """What a side is divided by: 2 for ``1/2``; 1, 2, 4 or 8."""
    match = re.fullmatch(r"(?:1/)?([1248])", str(text).strip())
    if match is None or str(text).strip() in ("2", "4", "8"):
        raise typer.BadParameter(f"{text!r} is not 1/2, 1/4 or 1/8")
    return int(match[1])


def parse_region(text: str) -> Box:
    """X,Y,W,H; UsageError for anything else, a level included."""
    if ":" in text:
        raise UsageError(f"region {text}: X,Y,W,H without a level")
    return parse_box(text)


def _names(text: str, choices: set[str], told: str) -> set[str]:
    """The names of a comma-separated list; BadParameter for others than `choices`."""
    names = {name.strip().lower() for name in text.split(",")} if text else set()
    if not names <= choices:
        raise typer.BadParameter(told)
    return names


def parse_strip(text: str) -> tuple[str, ...]:
    """Names of the metadata to leave out, from nothing, ``all``, ``exif``, ``xmp``, or ``exif,xmp``."""
    told = f"--strip {text!r}: all, exif, xmp, or exif,xmp (ICC profiles are part of the picture)"
    names = _names(text, {"all", "exif", "xmp"}, told)
    return ("exif", "xmp") if "all" in names else tuple(sorted(names))


def parse_protect(text: str) -> tuple[str, ...]:
    """Names of what to spend more of the bits on, from nothing, ``text``, ``faces``, or ``text,faces``."""
    return tuple(sorted(_names(text, {"text", "faces"}, f"--protect {text!r}: text, faces, or text,faces")))


Bpp = Annotated[
    float | None,
    typer.Option("--bpp", parser=parse_rate, metavar="X", help="Bits per pixel of the whole file, at most."),
]
Size = Annotated[
    int | None,
    typer.Option("--size", parser=parse_size, metavar="N[kB]", help="Whole file, at most (B kB MB KiB MiB)."),
]
Parameter = Annotated[
    float | None,
    typer.Option("--n", parser=parse_number, metavar="X", help="The model's own rate knob; larger is smaller."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Fail (exit 5) where the size asked for is missed.")]
EntropyOption = Annotated[Entropy, typer.Option("--entropy", help="Entropy coder.")]
Strip = Annotated[
    str, typer.Option("--strip", metavar="all|exif,xmp", help="Metadata to leave out.", show_default=False)
]
ProfileOption = Annotated[
    Profile,
    typer.Option("--profile", help="; ".join(f"{name}: {profile.help}" for name, profile in PROFILES.items()) + "."),
]
InnerOption = Annotated[
    Inner, typer.Option("--inner", help=f"Of --profile {OWN['inner'].profile}: how what it keeps is coded (WebP).")
]
Factor = Annotated[
    int,
    typer.Option(
        "--factor",
        metavar="|".join(map(str, spec.FACTORS)),
        help=f"Of --profile {OWN['factor'].profile}: what the rest is shrunk by.",
    ),
]
# Said here, not asked from gancodec.saliency: --help waits for no numpy. A test compares both.
METHODS = "spectral, fine, combined, spectral-center, center, none, gradcam, sam2, segment"
Saliency = Annotated[
    str | None,
    typer.Option(
        "--saliency",
        metavar="METHOD",
        help=f"More of the bits for what stands out: {METHODS}, or file:MAP.png (white for the most).",
    ),
]
SaliencyModel = Annotated[
    str | None,
    typer.Option(
        "--saliency-model",
        metavar="FOLDER|NAME",
        help="Network of gradcam, sam2 or segment: a folder, or a name in your Hugging Face cache.",
    ),
]
SaliencyStrength = Annotated[
    float | None,
    typer.Option(
        "--saliency-strength",
        parser=parse_number,
        metavar="S",
        help="How much --saliency, --roi and --roi-box count: 0 not at all, 1 (usual) to 8.",
    ),
]
Roi = Annotated[
    str | None,
    typer.Option(
        "--roi", metavar="MASK", help="Region of interest, a picture: white is kept best, black least, gray between."
    ),
]
RoiBoxes = Annotated[
    list[str] | None,
    typer.Option(
        "--roi-box",
        metavar="X,Y,W,H[:LEVEL]",
        help="The same as a rectangle in pixels, level 0 to 1 (1); may be repeated, later ones lie on top.",
    ),
]
Protect = Annotated[
    str,
    typer.Option("--protect", metavar="text,faces", help="What to spend more of the bits on.", show_default=False),
]
Realism = Annotated[
    float | None,
    typer.Option(
        "--realism", min=0, max=1, metavar="0..1", help="0 most faithful .. 1 most natural; else the model's default."
    ),
]
Pictures = Annotated[
    list[str], typer.Argument(metavar="IN", help="Pictures or folders; - is standard input.", show_default=False)
]
GicInputs = Annotated[
    list[str], typer.Argument(metavar="IN", help=".gic files or folders; - is standard input.", show_default=False)
]
GicFiles = Annotated[
    list[str], typer.Argument(metavar="FILE", help=".gic files or folders; - is standard input.", show_default=False)
]
Output = Annotated[
    str | None, typer.Option("-o", "--output", metavar="OUT", help="Output file, for one input; - is standard output.")
]
Folder = Annotated[
    str | None, typer.Option("-d", "--dir", metavar="DIR", help="Output folder; the tree of input folders is kept.")
]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Model to use (see `gancodec models`).")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where the networks run.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, metavar="N", help="CPU threads; with --jobs, of each.")
]
Overwrite = Annotated[bool, typer.Option("-f", "--overwrite", help="Replace output files that exist.")]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Pass over inputs whose output exists.")]
Jobs = Annotated[
    int,
    typer.Option(
        "-j",
        "--jobs",
        parser=parse_jobs,
        metavar="N|auto",
        help="Inputs at a time, each in a process with a model of its own; auto (or 0): one for each core.",
    ),
]
ManifestFile = Annotated[
    str | None,
    typer.Option("--manifest", metavar="FILE", help="Append one line of JSON for each input as it is finished."),
]
PreserveTimes = Annotated[bool, typer.Option("--preserve-times", help="Give outputs the input's modification time.")]
MaxPixels = Annotated[
    int, typer.Option("--max-pixels", min=1, metavar="N", help="Refuse larger pictures before reading them.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per input on standard output.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")]
Verbose = Annotated[
    int, typer.Option("-v", "--verbose", count=True, show_default=False, help="More messages; -vv adds tracebacks.")
]
MAX_PIXELS = spec.MAX_PIXELS


# What encode, batch and inspect are asked, called like the fields of EncodeOptions, and what each is where not given.
ASKED: dict[str, tuple[Any, object]] = {
    "bpp": (Bpp, None),
    "size": (Size, None),
    "n": (Parameter, None),
    "strict": (Strict, False),
    "model": (Model, None),
    "entropy": (EntropyOption, EncodeOptions.entropy),
    "device": (DeviceOption, EncodeOptions.device),
    "strip": (Strip, ""),
    "saliency": (Saliency, None),
    "saliency_model": (SaliencyModel, None),
    "saliency_strength": (SaliencyStrength, None),
    "roi": (Roi, None),
    "roi_boxes": (RoiBoxes, None),
    "protect": (Protect, ""),
    "profile": (ProfileOption, EncodeOptions.profile),
    "inner": (InnerOption, EncodeOptions.inner),
    "factor": (Factor, EncodeOptions.factor),
    "max_pixels": (MaxPixels, MAX_PIXELS),
}


def encoding(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `ASKED` in place of its ``**asked``; its keyword-only ones come after them."""
    # get_type_hints() of Python 3.10 would hide the options behind an Optional
    own = list(inspect.signature(command, eval_str=True).parameters.values())[:-1]
    kind = inspect.Parameter.KEYWORD_ONLY
    asked = [inspect.Parameter(name, kind, default=value, annotation=o) for name, (o, value) in ASKED.items()]
    command.__signature__ = inspect.Signature(sorted([*asked, *own], key=lambda p: p.kind))  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*asked, *own)}
    return command


def writing_report(
    inputs: list[str], output: str | None, saving: Saving, *, quiet: bool, verbose: int, as_json: bool
) -> Report:
    """The report of a command that writes files; checks the options that exclude each other."""
    if saving.overwrite and saving.skip_existing:
        raise UsageError("--overwrite and --skip-existing exclude each other")
    if as_json and (output == PIPE or (PIPE in inputs if output is None else _is_standard_output(output))):
        raise UsageError("--json and output to standard output exclude each other")
    return Report(quiet=quiet, verbose=verbose, as_json=as_json)


def _is_standard_output(output: str) -> bool:
    """Does the name stand for standard output, or for a second number of it?"""
    number = descriptor(output)
    with suppress(OSError):
        return number is not None and (number == 1 or os.path.sameopenfile(number, 1))
    return False


def encode_options(words: Mapping[str, Any]) -> EncodeOptions:
    """EncodeOptions from the parameters of a command, which are called like its fields; others are passed over.

    Raises UsageError for options that no picture could be encoded with.
    """
    given = {name: words[name] for name in ENCODING if words.get(name) not in NOT_GIVEN}
    if len(given.keys() & set(RATES)) > 1:
        raise UsageError("--bpp, --size and --n exclude each other")
    if "saliency_strength" in given and not {"saliency", "roi", "roi_boxes"} & set(given):
        raise UsageError("--saliency-strength scales --saliency, --roi and --roi-box: give one of them")
    parsers: dict[str, Callable[[Any], Any]] = {"strip": parse_strip, "protect": parse_protect, "roi_boxes": _boxes}
    chosen = EncodeOptions(**given | {name: parsers[name](given[name]) for name in parsers.keys() & given})
    check(chosen)
    return chosen


def _boxes(texts: Iterable[str]) -> tuple[Box, ...]:
    return tuple(map(parse_box, texts))


def set_threads(count: int | None) -> None:
    """Limit the threads of numpy and PyTorch; the variables are read when those are first imported."""
    if count is None:
        return
    from gancodec.workers import THREAD_VARIABLES  # and multiprocessing with it, which --help need not wait for

    for name in THREAD_VARIABLES:
        os.environ[name] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
