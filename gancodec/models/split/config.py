"""Numbers of the split codec, and what goes with it; without numpy."""

from __future__ import annotations

from dataclasses import replace

from gancodec.container import spec
from gancodec.container.spec import CELL, FACTORS
from gancodec.errors import UsageError
from gancodec.options import EncodeOptions

CODERS = {"lossy": spec.CODER_WEBP, "lossless": spec.CODER_WEBP_LOSSLESS}  # by inner coder
MOST_SIDE = 16383 // CELL * CELL  # pixels: WebP's own limit, in whole cells
SALIENCY = "combined"  # the paper's choice, where nothing is asked for


def completed(options: EncodeOptions) -> EncodeOptions:
    """The options, with a saliency method where nothing says what is salient; UsageError for what has no use here."""
    if not isinstance(options.inner, str) or options.inner not in CODERS:
        raise UsageError(f"inner coder {options.inner}: choose {' or '.join(CODERS)}")
    if not isinstance(options.factor, int) or options.factor not in FACTORS:
        raise UsageError(f"factor {options.factor}: choose {', '.join(map(str, FACTORS))}")
    given = {
        "n": options.n is not None,
        "a model": options.model is not None,
        "an entropy coder": options.entropy != EncodeOptions.entropy,
        "a saliency strength": options.saliency_strength != EncodeOptions.saliency_strength,
    }
    for name in (name for name, there in given.items() if there):
        raise UsageError(f"--profile {options.profile} has no use for {name}")
    if options.inner == "lossless" and (options.bpp, options.size) != (None, None):
        raise UsageError("the lossless inner coder has no rate: leave out --bpp and --size")
    if options.saliency is None and options.roi is None and not options.roi_boxes:
        return replace(options, saliency=SALIENCY)
    return options
