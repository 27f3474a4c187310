"""The shipped model on the Kodak pictures: every size hit from below, MS-SSIM above the best peer at the same rate."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gancodec import imageio
from gancodec.codec import DecodeOptions, EncodeOptions, decode_bytes, encode_picture
from gancodec.metrics import ms_ssim
from gancodec.models.gic1.codec import TunableCodec
from tests.conftest import needs_weights

KODAK = sorted((Path(__file__).parents[2] / "shared" / "data" / "kodak").glob("*.png"))
# Mean bits per pixel that CompressAI publishes for Pillow at these qualities (results/image/kodak/{jpeg,webp}.json).
PUBLISHED = {
    ("JPEG", 5): 0.2212,
    ("JPEG", 10): 0.3266,
    ("JPEG", 20): 0.5084,
    ("WEBP", 5): 0.2344,
    ("WEBP", 10): 0.2963,
    ("WEBP", 20): 0.4071,
}
# Mean MS-SSIM of the best peer in Pillow at these mean rates: AVIF at speed 6, and JPEG 2000 where AVIF does not reach.
BARS = {0.05: 0.815, 0.1: 0.901, 0.2: 0.944, 0.4: 0.970}
FAITHFUL = DecodeOptions(realism=0)

pytestmark = [
    needs_weights,
    pytest.mark.skipif(len(KODAK) != 24, reason="the 24 Kodak pictures are not in ../shared/data/kodak"),
]


@pytest.mark.parametrize("bpp", BARS)
def test_rate_and_quality(bpp: float, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    analyse = TunableCodec.analyse
    monkeypatch.setattr(TunableCodec, "analyse", lambda self, *given: runs.append(1) or analyse(self, *given))
    quality = []
    for path in KODAK:
        picture = imageio.load(path)
        coded = encode_picture(picture, EncodeOptions(bpp=bpp))
        assert 0.99 * bpp <= coded.bpp <= bpp, path.name
        assert coded.probes <= 8
        quality.append(ms_ssim(decode_bytes(coded.data, FAITHFUL).rgb, picture.rgb))
    assert len(runs) == len(KODAK), "the encoder runs once a picture"
    assert np.mean(quality) > BARS[bpp]


@pytest.mark.parametrize(("format", "quality"), PUBLISHED)
def test_published_rates_of_peers(format: str, quality: int) -> None:
    """With the settings behind published curves, the same pictures give the same rates."""
    sizes = []
    for path in KODAK:
        buffer = io.BytesIO()
        Image.fromarray(imageio.load(path).rgb).save(buffer, format, quality=quality)
        sizes.append(8 * len(buffer.getvalue()) / (768 * 512))
    assert np.mean(sizes) == pytest.approx(PUBLISHED[format, quality], rel=0.001)
