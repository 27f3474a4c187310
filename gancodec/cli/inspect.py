"""``gancodec inspect``: where the bits of one picture go, as pictures."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gancodec.batch.files import Job
from gancodec.cli import files, options
from gancodec.cli.evaluate import writing
from gancodec.cli.report import Report
from gancodec.container import spec
from gancodec.errors import OutputExists, UsageError
from gancodec.messages import printable
from gancodec.options import DecodeOptions, EncodeOptions
from gancodec.sources import PIPE, read_source

if TYPE_CHECKING:
    from gancodec.evaluate.inspect.look import Look

Input = Annotated[str, typer.Argument(metavar="IN", help="A picture, or a .gic file.", show_default=False)]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder for the pictures; IN with -inspect added, without.")
]
Original = Annotated[
    str | None, typer.Option("--original", metavar="FILE", help="The picture that a .gic file was made from.")
]


@options.encoding
def inspect(
    source: Input,
    out: Out = None,
    original: Original = None,
    *,
    realism: options.Realism = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    **asked: Any,
) -> None:
    """Show original, saliency, coded bits per block, importance, decoded picture and error.

    Writes inspect.png, which has them all, and one picture of each. A picture is encoded first, with the options that
    `encode` has; without --saliency a map is shown (combined) but not used. Of a .gic file --saliency is shown; files
    of the split profile have kept cells instead of importance and bits per block.
    """
    report = Report(quiet=quiet, verbose=verbose, as_json=as_json)
    if source == PIPE and out is None:
        raise UsageError("standard input has no name: use --out DIR with it")
    encode = options.encode_options(asked)
    from gancodec.evaluate.inspect import look

    folder = out or Path(os.path.splitext(source)[0] + "-inspect")
    if (folder / look.SHEET).exists() and not overwrite:
        raise OutputExists(f"{folder / look.SHEET} exists (-f overwrites)")
    decode = DecodeOptions(device=encode.device, realism=realism, max_pixels=encode.max_pixels)

    def work(job: Job) -> None:
        seen = _look_at(job.source, original, encode, decode)
        with writing(folder):
            written = look.write(seen, folder)
        report.result(_text(folder, seen), {"file": job.source, "output": [str(p) for p in written], **seen.facts})

    raise typer.Exit(report.run(lambda: [Job(source)], work))


def _look_at(source: str, original: str | None, encode: EncodeOptions, decode: DecodeOptions) -> Look:
    """What there is to see in a .gic file, or in what becomes of a picture."""
    from gancodec import imageio
    from gancodec.evaluate.inspect import look

    most = encode.max_pixels
    data = read_source(source, most)
    if data.startswith(spec.MAGIC) or source.lower().endswith(tuple(files.GIC_SUFFIXES)):
        shown = EncodeOptions(
            device=encode.device,
            max_pixels=encode.max_pixels,
            saliency=encode.saliency,
            saliency_model=encode.saliency_model,
        )
        if encode != shown:
            raise UsageError("a .gic file is encoded already: of the options of `encode` it takes --saliency alone")
        beside = None if original is None else imageio.load(io.BytesIO(read_source(original, most)), most)
        return look.at_file(data, decode, encode, beside)
    if original is not None:
        raise UsageError("--original is for .gic files")
    return look.at_picture(imageio.load(io.BytesIO(data), most), encode, decode)


def _text(folder: Path, look: Look) -> str:
    facts = look.facts
    quality = f", PSNR {facts['psnr']:.2f} dB, MS-SSIM {facts['ms_ssim']:.4f}" if "psnr" in facts else ""
    return (
        f"{printable(str(folder))}/inspect.png: {facts['width']}x{facts['height']}, {facts['bytes']} bytes, "
        f"{facts['bpp']:.4f} bpp{quality}\n{look.summary}"
    )
