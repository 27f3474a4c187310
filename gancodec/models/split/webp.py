"""Bare WebP streams, without the RIFF container around them."""

from __future__ import annotations

import io

from gancodec.container import spec
from gancodec.errors import CorruptFile, GicError, UnreadablePicture
from gancodec.models.split.layers import Pixels

STREAMS = {spec.CODER_WEBP: b"VP8 ", spec.CODER_WEBP_LOSSLESS: b"VP8L"}  # what WebP calls them
RIFF_HEAD = 20  # bytes before the stream in a WebP file of one still picture
QUALITY = 75.0  # of WebP, 0 .. 100, where no rate is asked for
STEPS = (0.0, 127.0)  # of libwebp's quantiser; larger is coarser


def quality_at(step: float) -> float:
    """The quality that makes libwebp quantise by about this step of STEPS (QualityToCompression of its quant_enc.c,
    undone). Log sizes fall evenly with steps; with qualities they plunge where these are small."""
    linear = (1 - step / STEPS[1]) ** 3
    return 100 * (1.5 * linear if linear < 0.5 else (1 + linear) / 2)


def webp(pixels: Pixels, quality: float | None) -> bytes:
    """The bare VP8 or VP8L stream that Pillow makes, without the RIFF container around it."""
    from PIL import Image

    _need_webp()
    file = io.BytesIO()
    how = {"lossless": True, "exact": True} if quality is None else {"quality": quality}
    Image.fromarray(pixels).save(file, "WEBP", method=6, **how)
    data = file.getvalue()
    return data[RIFF_HEAD : RIFF_HEAD + int.from_bytes(data[RIFF_HEAD - 4 : RIFF_HEAD], "little")]


def unwebp(stream: bytes, coder: int, size: tuple[int, int]) -> Pixels:
    """Pixels of a bare stream, whose stated (width, height) must be `size` before anything is allocated for it."""
    from gancodec import imageio

    _need_webp()
    if _stated_size(stream, coder) != size:
        raise CorruptFile(f"IMAGE: a stream that is not a picture of {size[0]}x{size[1]} pixels")
    chunk = b"WEBP" + STREAMS[coder] + len(stream).to_bytes(4, "little") + stream + bytes(len(stream) % 2)
    try:
        picture = imageio.load(io.BytesIO(b"RIFF" + len(chunk).to_bytes(4, "little") + chunk), size[0] * size[1])
    except UnreadablePicture as error:
        raise CorruptFile(f"IMAGE: {error}") from error
    if picture.alpha is not None or picture.rgb.shape != (size[1], size[0], 3):
        raise CorruptFile("IMAGE: a stream that is not of RGB pixels")
    return picture.rgb


def _stated_size(stream: bytes, coder: int) -> tuple[int, int] | None:
    """(width, height) by the start of a VP8 key frame (RFC 6386, 9.1) or of a VP8L stream (RFC 9649, 3.4)."""
    if coder == spec.CODER_WEBP and stream[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(stream[6:8], "little") & 0x3FFF, int.from_bytes(stream[8:10], "little") & 0x3FFF
    if coder == spec.CODER_WEBP_LOSSLESS and stream[:1] == b"\x2f":
        bits = int.from_bytes(stream[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


def _need_webp() -> None:
    from PIL import features

    if not features.check("webp"):
        raise GicError("this Pillow was built without WebP, which split files are made of")
