"""Channels that a decoded picture is shown with."""

from __future__ import annotations


def shown_mode(gray: bool, alpha: bool, icc: bytes | None) -> str:
    """Pillow's name of the channels, L, LA, RGB or RGBA: a gray picture has three where its ICC profile is of RGB."""
    one = gray and (icc is None or icc[16:20] == b"GRAY")
    return ("L" if one else "RGB") + "A" * alpha
