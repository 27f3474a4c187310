"""Pillow image of any mode to RGB with the ICC profile that describes it: a colour-managed viewer shows the same."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from gancodec.formats.facts import DAMAGED_PROFILE, Samples
from gancodec.types import is_gray

PLAIN = Samples()
STRIP_PIXELS = 1 << 20
DEEP_GRAY = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
GRAY = ("1", "L", "LA", "La", *DEEP_GRAY)
DEEP = "more than 8 bits per sample: reduced to 8"
Chromaticities = tuple[tuple[float, float], ...]  # x, y of white, red, green, blue
D65 = (0.3127, 0.3290)
SRGB_PRIMARIES: Chromaticities = (D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
D50 = np.array([0.9642, 1.0, 0.8249])  # XYZ, as ICC has it
# Code points of ITU-T H.273 that photographs come with; every other one is taken for sRGB.
PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB_PRIMARIES,
    9: (D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: (D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
HDR = {16: "PQ", 18: "HLG"}
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # g, a, b, c, d of ICC's parametric curve 3


def to_rgb(
    image: Image.Image, icc: bytes | None, notices: list[str], samples: Samples = PLAIN, stated: bool = False
) -> tuple[Image.Image, bytes | None]:
    """Any mode, of such samples in the file, to RGB or RGBA, with the ICC profile that then describes it (None: sRGB).
    A profile that is `stated` in other words is not kept where the picture is gray.

    RGB keeps its profile. Gray and CMYK with a profile of their kind go through it to sRGB, perceptually; CMYK without
    one by the plain formula, as browsers do. What is converted, reduced or dropped is added to `notices`.
    """
    mode = image.mode
    if mode == "CMYK":
        notices.append("CMYK converted to RGB")
        return _from_cmyk(image, icc, notices), None
    space = icc[16:20] if icc else b"RGB "  # the colour space that a profile is of
    converted = _plain(image, notices, samples)
    if (space == b"GRAY" or (stated and icc)) and (mode in GRAY or _is_gray(converted)):
        managed = _from_gray(converted.getchannel("R"), icc or b"", space.strip().decode())
        if managed is not None:
            notices.append(f"gray {'in another colour space' if stated else 'with an ICC profile'} converted to sRGB")
            if converted.mode == "RGBA":
                managed.putalpha(converted.getchannel("A"))
            return managed, None
    if space != b"RGB " or mode in ("LAB", "YCbCr", "HSV"):
        if icc and not (mode == "LAB" and space == b"Lab "):
            notices.append(f"ICC profile does not describe RGB: dropped (the original is {mode})")
        icc = None
    if icc and not _is_sound(icc):
        notices.append(DAMAGED_PROFILE)
        icc = None
    return converted, icc


def _is_sound(icc: bytes) -> bool:
    """Can a profile of RGB be used? Of versions that lcms does not know it is left to others to tell."""
    if len(icc) > 8 and icc[8] > 4:
        return True
    try:
        if int.from_bytes(icc[:4], "big") > len(icc):
            return False
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError):
        return False
    return True


def _plain(image: Image.Image, notices: list[str], samples: Samples) -> Image.Image:
    """RGB or RGBA by Pillow's formulas; Lab by colour management."""
    mode = image.mode
    if mode in DEEP_GRAY:
        return _from_deep(image, samples, notices)
    if mode in ("LAB", "YCbCr", "HSV"):
        notices.append(f"{mode} converted to RGB")
        return image.convert("RGB")
    has_alpha = mode in ("LA", "La", "PA", "RGBa", "RGBA") or "transparency" in image.info
    if mode == "La":
        image = image.convert("LA")  # Pillow has no direct way
    wanted = "RGBA" if has_alpha else "RGB"
    return image if mode == wanted and "transparency" not in image.info else image.convert(wanted)


def _from_deep(image: Image.Image, samples: Samples, notices: list[str]) -> Image.Image:
    """Gray of up to 16 bits by the range of its type; of 32 bits and float by that of its values, as nothing says what
    white is. In strips: real numbers take eight bytes a pixel."""
    low, high, usual = _range(image, samples)
    black, white = (high, low) if samples.inverted else (low, high)
    notices.append(DEEP if usual else f"{DEEP}, {black:g} is black and {white:g} white")
    clear = image.info.get("transparency")
    scaled, opaque = Image.new("L", image.size), None if clear is None else Image.new("L", image.size)
    for top, strip in strips(image):
        values = np.nan_to_num(_values(strip, samples).astype(np.float64), nan=low, posinf=high, neginf=low)
        levels = np.clip(np.rint((values - black) / (white - black) * 255), 0, 255).astype(np.uint8)
        scaled.paste(Image.fromarray(levels), (0, top))
        if opaque is not None:
            opaque.paste(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)), (0, top))
    return scaled.convert("RGB") if opaque is None else Image.merge("RGBA", (scaled, scaled, scaled, opaque))


def _values(strip: Image.Image, samples: Samples) -> NDArray[Any]:
    """Numbers as the file has them: Pillow gives all of 32 bits a sign."""
    values = np.asarray(strip)
    return values.view(np.uint32) if strip.mode == "I" and samples[:2] == (32, "unsigned") else values


def _range(image: Image.Image, samples: Samples) -> tuple[float, float, bool]:
    """What becomes black and white, and whether that is the usual range, of which nothing need be said."""
    if (samples.bits, samples.kind) == (16, "signed"):
        return -32768.0, 32767.0, False
    if image.mode not in ("F", "I"):
        return 0.0, float((1 << (samples.bits if samples.bits > 8 else 16)) - 1), True
    values = (_values(strip, samples) for _, strip in strips(image))
    finite = (part[np.isfinite(part)] for part in values)
    bounds = [(float(part.min()), float(part.max())) for part in finite if part.size]
    low, high = min((b[0] for b in bounds), default=0.0), max((b[1] for b in bounds), default=1.0)
    usual = 1.0 if image.mode == "F" else 65535.0
    if 0 <= low and high <= usual:
        return 0.0, usual, True
    return low if image.mode == "F" else min(low, 0.0), max(high, low + 1e-9), False


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Parts of some rows each, with the place of the first: as arrays, large pictures are to be held in parts only."""
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _is_gray(image: Image.Image) -> bool:
    """Is an RGB or RGBA image, which some formats alone have, gray in every pixel?"""
    return all(is_gray(np.asarray(strip.convert("RGB"))) for _, strip in strips(image))


def _from_gray(image: Image.Image, icc: bytes, space: str) -> Image.Image | None:
    """Gray through a profile of gray or RGB, by a table of all 256 levels: lcms is exact, to 8 bits, with its tables
    turned off, which is slow."""
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    levels = _to_srgb(ramp.convert("RGB") if space == "RGB" else ramp, icc, ImageCms.Flags.NOOPTIMIZE)
    if levels is None:
        return None
    tables = levels.split() if space != "RGB" else levels.getchannel("G").convert("RGB").split()  # gray stays gray
    return Image.merge("RGB", [image.point(list(channel.tobytes())) for channel in tables])


def _from_cmyk(image: Image.Image, icc: bytes | None, notices: list[str]) -> Image.Image:
    """Through the embedded profile where there is a usable one, else by the plain formula."""
    if icc:
        managed = _to_srgb(image, icc)
        if managed is not None:
            return managed
        notices.append("its ICC profile is unusable: colours are approximate")
    return image.convert("RGB")


def _to_srgb(image: Image.Image, icc: bytes, flags: ImageCms.Flags = ImageCms.Flags.NONE) -> Image.Image | None:
    """Through a profile, with the perceptual intent that viewers take; None where it does not fit or is damaged."""
    try:
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, io.BytesIO(icc), srgb, outputMode="RGB", flags=flags)
    except (ImageCms.PyCMSError, OSError):
        return None


def stated_profile(image: Image.Image, coding: tuple[int, int] | None, notices: list[str]) -> bytes | None:
    """The ICC profile that says what a file says in other words: CICP code points, or PNG's gAMA and cHRM.

    Parameters
    ----------
    image : Pillow image
        Loaded.
    coding : (int, int) or None
        Primaries and transfer (ITU-T H.273).

    Returns
    -------
    bytes or None
        None for sRGB, and where nothing is said.
    """
    if coding is not None:
        primaries, transfer = coding
        if transfer in HDR:
            notices.append(f"HDR ({HDR[transfer]}) is not kept as such: brightness and colours are approximate")
        space, gamma = PRIMARIES.get(primaries, SRGB_PRIMARIES), GAMMAS.get(transfer)
    elif "srgb" in image.info or not {"gamma", "chromaticity"} & set(image.info):
        return None
    else:
        white, *rest = _pairs(image.info["chromaticity"]) if "chromaticity" in image.info else SRGB_PRIMARIES
        space, gamma = (white, *rest), 1 / image.info["gamma"] if image.info.get("gamma") else None
        if gamma is not None and abs(gamma - 2.2) < 0.005:
            gamma = None  # 1 / 2.2 is how PNG writers say sRGB
    if gamma is None and np.allclose(space, SRGB_PRIMARIES, atol=0.002):
        return None
    try:
        return matrix_profile(space, gamma)
    except (ValueError, ArithmeticError, struct.error, np.linalg.LinAlgError):
        notices.append("colour space of the file makes no sense: taken for sRGB")
        return None


def _pairs(values: tuple[float, ...]) -> Chromaticities:
    return tuple(zip(values[::2], values[1::2], strict=True))


def matrix_profile(space: Chromaticities, gamma: float | None) -> bytes:
    """ICC 4 profile of an RGB space.

    Parameters
    ----------
    space : four (x, y)
        White, red, green, blue.
    gamma : float or None
        Exponent from stored values to light; None for the curve of sRGB.

    Raises
    ------
    ValueError, ArithmeticError, struct.error, numpy.linalg.LinAlgError
        For chromaticities and exponents that make no colour space.
    """
    if gamma is not None and not 0.1 <= gamma <= 10:
        raise ValueError("no such gamma")
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in space)
    scale = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    adapt = np.linalg.inv(BRADFORD) @ scale @ BRADFORD
    colours = np.stack(primaries, 1)
    colours = adapt @ (colours * np.linalg.solve(colours, white))
    if gamma is None:
        curve = struct.pack(">4sIHH", b"para", 0, 3, 0) + _fixed(SRGB_CURVE)
    else:
        curve = struct.pack(">4sIHH", b"para", 0, 0, 0) + _fixed((gamma,))
    tags = {
        b"desc": _text("RGB as the source file states it"),
        b"cprt": _text("No copyright"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(adapt.ravel()),
    }
    tags |= {name + b"XYZ": b"XYZ \0\0\0\0" + _fixed(colours[:, i]) for i, name in enumerate((b"r", b"g", b"b"))}
    tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    return _profile(tags)


def _fixed(values: NDArray[np.float64] | tuple[float, ...]) -> bytes:
    """s15Fixed16 numbers."""
    return struct.pack(f">{len(values)}i", *(round(float(v) * 65536) for v in values))


def _text(text: str) -> bytes:
    return struct.pack(">4sIII2s2sII", b"mluc", 0, 1, 12, b"en", b"US", 2 * len(text), 28) + text.encode("utf-16-be")


def _profile(tags: dict[bytes, bytes]) -> bytes:
    """Header, table and data of an ICC 4.2 display profile, RGB to XYZ."""
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    size = start + len(data)
    head = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x04200000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(D50)
    return head.ljust(128, b"\0") + table + data
