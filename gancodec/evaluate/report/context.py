"""Everything around the figures that somebody needs to believe or repeat them: versions, hashes, machine, command."""

from __future__ import annotations

import importlib.util
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from gancodec._version import __version__
from gancodec.errors import MissingExtra
from gancodec.evaluate.curves import Curve, Delta, Mean, bd_rate, best, means
from gancodec.evaluate.job import meter_of
from gancodec.evaluate.metrics import distribution
from gancodec.evaluate.ours import Ours
from gancodec.evaluate.peers import PEERS
from gancodec.evaluate.run import Outcome

PACKAGES = (
    "torch",
    "numpy",
    "pillow",
    "opencv-contrib-python-headless",
    "torchmetrics",
    "pytorch-msssim",
    "bjontegaard",
)
BD_METRICS = ("psnr", "ms-ssim-db", "lpips-squeeze")


@dataclass(frozen=True)
class Context:
    """An outcome with all that is derived from it.

    Attributes
    ----------
    means : list of Mean
    curves : list of Curve
        Measured, one a codec.
    published : list of Curve
        To be drawn beside them.
    deltas : list of Delta
    """

    title: str
    command: str
    outcome: Outcome
    means: list[Mean]
    curves: list[Curve]
    published: list[Curve]
    deltas: list[Delta]

    @property
    def notes(self) -> list[str]:
        """What a reader has to know before the figures."""
        plan = self.outcome.plan
        lines = [
            "Rates are 8 x bytes / pixels of whole files on disk; figures are of pictures decoded from those files.",
        ]
        if plan.sweep:
            lines.append(
                "'setting' rows use one setting of the codec for all pictures, as published curves do; "
                "'bpp' rows bring every picture to the rate, which takes bits from the hard ones."
            )
        coarse = {m.codec for m in self.means if m.off > 0.02}
        if coarse:
            lines.append(
                f"{', '.join(sorted(coarse))}: the encoder's steps are coarser than 2 %; such files are the nearest, "
                "some larger and some smaller than asked ('off' is the largest distance)."
            )
        if distribution.fingerprint(plan.backbones):
            lines.append(
                "FID and KID are over patches of the pictures at hand, on the network in the column's name; "
                "they cannot be compared with figures of another network or another set."
            )
        else:
            lines.append(
                "FID and KID: left out, no mobilenet_v2.safetensors or Inception in the folder of --backbones."
            )
        return lines + list(meter_of(plan.backbones, plan.saliency).absent)

    def facts(self) -> list[tuple[str, str]]:
        """Versions, models, networks, machine."""
        plan = self.outcome.plan
        found = [("gancodec", __version__), *((p, v) for p in PACKAGES if (v := _version(p)))]
        for (name, _), codec in plan.under_test.items():
            if isinstance(codec, Ours):
                model = codec.model
                found.append(
                    (codec.name, f"id {model.id}, weights sha256 {model.sha256}, entropy {model.entropy_hash.hex()}")
                )
            elif name in PEERS:
                found.append((codec.name, codec.fingerprint))
        found += sorted(meter_of(plan.backbones, plan.saliency).used.items())
        if patches := distribution.fingerprint(plan.backbones):
            found.append(("FID and KID", patches))
        found.append(("saliency", f"{plan.saliency}: weights of psnr-saliency and ms-ssim-saliency"))
        return [*found, ("pictures", str(len(self.outcome.sources))), ("machine", machine())]

    def as_json(self) -> dict[str, Any]:
        """Everything but the rows, which are in the CSV file."""
        return {
            "title": self.title,
            "command": self.command,
            "facts": dict(self.facts()),
            "notes": self.notes,
            "pictures": [{"name": s.name, "sha256": s.sha256} for s in self.outcome.sources],
            "means": [_mean_json(m) for m in self.means],
            "bd_rate": [d._asdict() for d in self.deltas],
            "speed": self.outcome.speed,
            "failures": [
                {"picture": r.picture, "codec": r.codec, "asked": r.asked, "error": r.error}
                for r in self.outcome.failed
            ],
        }


def _mean_json(mean: Mean) -> dict[str, Any]:
    return {
        "codec": mean.codec,
        "kind": mean.point.kind,
        "asked": mean.point.value,
        "pictures": mean.pictures,
        "reached": mean.reached,
        "bpp": _rounded(mean.bpp),
        "off": _rounded(mean.off),
        "figures": {k: _rounded(v) for k, v in mean.figures.items()} if mean.whole else {},
    }


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_packages(deltas: bool) -> None:
    """MissingExtra for what the end of an evaluation will need, before its work begins."""
    needed = {
        "cv2": "saliency-weighted metrics",
        "pytorch_msssim": "MS-SSIM",
        "matplotlib": "plots",
        "jinja2": "the report",
    }
    for module, what in (needed | ({"bjontegaard": "BD-rate"} if deltas else {})).items():
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(what, "eval")


def machine() -> str:
    """Processor, cores and system, in words."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{processor}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def derive(
    outcome: Outcome,
    title: str,
    command: str,
    published: list[Curve],
    overlay: list[Curve],
    against: Sequence[tuple[str | None, str]],
) -> Context:
    """Means, curves and Bjontegaard deltas.

    `against` has pairs (codec, anchor): the delta of that codec, or of every one for None, against a measured or
    published curve by name.
    """
    found = means(outcome.rows, len(outcome.sources), outcome.sets)
    measured = best(found)
    known = {c.name: c for c in (*published, *measured)}
    pairs = [
        (known[anchor], curve)
        for codec, anchor in against
        for curve in measured
        if anchor in known and curve.name != anchor and codec in (None, curve.name)
    ]
    deltas = [
        bd_rate(anchor, curve, metric)
        for anchor, curve in pairs
        for metric in BD_METRICS
        if metric in anchor.figures and metric in curve.figures
    ]
    return Context(title, command, outcome, found, measured, overlay, deltas)
