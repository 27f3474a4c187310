"""One name for every saliency method, and the checks and guards that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gancodec.errors import UsageError
from gancodec.forks import unforked
from gancodec.saliency import gradcam, sam2, segment, static
from gancodec.types import FloatArray, Pixels

LEAST_SIDE = 8  # pixels; smaller pictures have no structure that the methods could find


class Method(NamedTuple):
    """A way to tell where people look."""

    compute: Callable[..., FloatArray]  # of the picture and, where there is a network, of its folder or name
    model: str | None = None  # the network where none is named; None for methods that have none
    looks: bool = True  # at the picture


METHODS = {
    "spectral": Method(static.spectral),
    "fine": Method(static.fine),
    "combined": Method(static.combined),
    "spectral-center": Method(static.spectral_center),
    "center": Method(static.center, looks=False),
    "none": Method(static.none, looks=False),
    "gradcam": Method(gradcam.gradcam, gradcam.MODEL),
    "sam2": Method(sam2.sam2, sam2.MODEL),
    "segment": Method(segment.segment, segment.MODEL),
}


def check_method(method: str, model: str | None = None) -> None:
    """UsageError where `method` is not a key of METHODS, or where it has no network and `model` names one."""
    if method not in METHODS:
        raise UsageError(f"saliency {method}: choose {', '.join(METHODS)}")
    if model is not None and METHODS[method].model is None:
        raise UsageError(f"saliency {method} takes no model")


@unforked()
def saliency_map(rgb: Pixels, method: str = "combined", model: str | None = None) -> FloatArray:
    """Saliency of a picture, deterministic on one machine.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    method : str
        A key of METHODS.
    model : str, optional
        For gradcam, sam2 and segment: a folder with config.json and model.safetensors, that file, or the name of a
        model in the user's Hugging Face cache. Nothing is ever downloaded.

    Returns
    -------
    (H, W) float32
        In [0, 1]; zero everywhere for flat and for tiny pictures, except with center, which does not look.

    Raises
    ------
    UsageError
        For an unknown method, a model that the method does not take, or one of a kind that it cannot use.
    MissingWeights
        Where the model is not on this machine or cannot be read.
    MissingExtra
        Where a package that the method needs is not installed.
    """
    check_method(method, model)
    compute, default, looks = METHODS[method]
    # In a flat picture the methods would stretch their own rounding noise to the full range.
    if looks and (min(rgb.shape[:2]) < LEAST_SIDE or (rgb == rgb[0, 0]).all()):
        return np.zeros(rgb.shape[:2], np.float32)
    if default is None:
        return compute(rgb)
    return compute(rgb, default if model is None else model)
