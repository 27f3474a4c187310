"""What a codec did where, as pictures: saliency, importance, coded bits per block, error."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancodec.errors import optional
from gancodec.models.codec import Allocation, Map
from gancodec.types import FloatArray, Pixels, Plane

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = "viridis"
WEBP_SIDE = 16383  # pixels, the most that the format holds
LEAST_SPAN = 1 / 8  # of importance, between the darkest and the brightest colour


@dataclass(frozen=True)
class Panel:
    """A map with its title, values for a colour bar, and pixels (H, W, 3) uint8 at the picture's size."""

    title: str
    pixels: Pixels
    low: float = 0.0
    high: float = 0.0
    unit: str = ""


def coloured(values: NDArray[np.floating], low: float, high: float) -> Pixels:
    """(H, W) values to colours between `low` and `high`."""
    colormaps = optional("matplotlib", "coloured maps", "eval").colormaps
    span = high - low if high > low else 1.0
    rgba = colormaps[COLOURS](np.clip((values - low) / span, 0, 1), bytes=True)
    return np.ascontiguousarray(rgba[..., :3])


def to_pixels(plane: Plane, width: int, height: int) -> NDArray[np.floating]:
    """A value per place, repeated over its pixels and cut to the picture."""
    return plane.values.repeat(plane.stride, 0).repeat(plane.stride, 1)[:height, :width]


def map_panel(values: FloatArray, title: str) -> Panel:
    """A map (H, W) in [0, 1]: saliency, a region of interest."""
    return Panel(title, coloured(values, 0, 1), 0, 1)


def allocation_panels(allocation: Allocation, width: int, height: int) -> dict[str, Panel]:
    """Bits, where they are known, and the maps of a file by name; the first belongs beside saliency."""
    bits = {} if allocation.bits is None else {"bits": bits_panel(allocation.bits, width, height)}
    return bits | {shown.name: importance_panel(shown, width, height) for shown in allocation.maps}


def importance_panel(shown: Map, width: int, height: int) -> Panel:
    """Importance, over the values that occur, and at least over LEAST_SPAN of them: a flat map should look flat."""
    values = to_pixels(shown.plane, width, height)
    low = min(float(values.min()), 1 - LEAST_SPAN)
    high = max(float(values.max()), low + LEAST_SPAN)
    return Panel(shown.title, coloured(values, low, high), low, high)


def bits_panel(bits: Plane, width: int, height: int) -> Panel:
    """Coded bits of each block, as bits per pixel of the block."""
    rate = Plane(bits.values / bits.stride**2, bits.stride)
    high = float(rate.values.max())
    return Panel("coded bits per pixel of a block", coloured(to_pixels(rate, width, height), 0, high), 0, high)


def error_panel(original: Pixels, decoded: Pixels) -> Panel:
    """Absolute error, largest of the three channels, in gray levels."""
    error = np.abs(original.astype(np.int16) - decoded).max(2).astype(np.float32)
    high = float(max(np.percentile(error, 99.5), 1.0))
    return Panel("absolute error, gray levels", coloured(error, 0, high), 0, high)


def sheet(panels: Mapping[str, Panel]) -> Figure:
    """All panels in one figure, in rows of up to three."""
    figures = optional("matplotlib.figure", "figures", "eval")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    height, width = next(iter(panels.values())).pixels.shape[:2]
    columns = min(3, len(panels)) if width <= 2 * height else min(2, len(panels))
    rows = -(-len(panels) // columns)
    aspect = min(max(height / width, 0.3), 3.0)
    figure: Figure = figures.Figure(figsize=(4.4 * columns, (4.0 * aspect + 0.5) * rows), layout="constrained")
    for i, panel in enumerate(panels.values()):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(panel.pixels, interpolation="antialiased")
        axes.set_title(panel.title, fontsize=9)
        axes.set_axis_off()
        if panel.high > panel.low:
            bar = ScalarMappable(Normalize(panel.low, panel.high), COLOURS)
            figure.colorbar(bar, ax=axes, fraction=0.03, pad=0.01).ax.tick_params(labelsize=7)
    return figure


def png(figure: Figure, dpi: int = 120) -> bytes:
    """The figure as a PNG file."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=dpi)
    return data.getvalue()


def encoded(pixels: Pixels, format: str = "PNG") -> bytes:
    """Pixels as a PNG or, where it can hold them, a lossless WebP file."""
    if max(pixels.shape[:2]) > WEBP_SIDE:
        format = "PNG"  # which browsers show as well
    data = io.BytesIO()
    options = {"lossless": True, "method": 4} if format == "WEBP" else {}
    Image.fromarray(pixels).save(data, format, **options)
    return data.getvalue()
