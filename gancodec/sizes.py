"""A baseline of file sizes and qualities, and what has moved since it was written.

The baseline is JSON: sorted, rounded, without times and without places on this machine, so that it belongs into version
control and a difference between two of them says what changed.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from gancodec import imageio
from gancodec._version import __version__
from gancodec.codec import DecodeOptions, EncodeOptions, decode_bytes, encode_picture
from gancodec.container import MAX_PIXELS, spec
from gancodec.errors import CorruptFile, GicError, UnsupportedFile
from gancodec.metrics import ms_ssim, psnr
from gancodec.weights import ModelInfo

FORMAT, VERSION = "gancodec sizes", 1
RATES = ("bpp", "size", "n")
OK, BETTER = "ok", "better"


@dataclass(frozen=True)
class Settings:
    """How a picture of a baseline is encoded: exactly one of `bpp`, `size` and `n`, else n = 0.

    The device is the CPU unless asked otherwise: a GPU rounds differently, which may move a size by some bytes.
    """

    bpp: float | None = None
    size: int | None = None
    n: float | None = None
    entropy: str = "range"
    device: str = "cpu"

    def changed(self, given: Mapping[str, Any]) -> Settings:
        """With what is in `given`; a rate there takes the place of the one here."""
        cleared = dict.fromkeys(RATES) if set(RATES) & set(given) else {}
        return replace(self, **{**cleared, **given})

    @property
    def record(self) -> dict[str, Any]:
        """As in the baseline."""
        record = {k: v for k, v in asdict(self).items() if v is not None}
        return record if set(RATES) & set(record) else {"n": 0.0, **record}


@dataclass(frozen=True)
class Entry:
    """What is known of one file; of a .gic file only its `bytes`, and that it decodes.

    Attributes
    ----------
    bytes : int
        Of the .gic file.
    sha256 : str
        Of the picture file.
    bpp, psnr, ms_ssim : float
        Bits per pixel; dB, infinite where every pixel is the same; in [0, 1].
    """

    bytes: int
    sha256: str | None = None
    settings: Settings | None = None
    bpp: float | None = None
    psnr: float | None = None
    ms_ssim: float | None = None

    @property
    def record(self) -> dict[str, Any]:
        """As in the baseline. JSON has no infinity: null stands for it."""
        if self.settings is None:
            return {"bytes": self.bytes, "decodes": True}
        quality = {"psnr": finite(self.psnr), "ms_ssim": self.ms_ssim}
        source = {"sha256": self.sha256, "settings": self.settings.record}
        return {**source, "bytes": self.bytes, "bpp": self.bpp, **quality}


@dataclass(frozen=True)
class Baseline:
    """Entries by name (the path from the baseline's folder, with forward slashes), and what they were made with."""

    model: str
    entropy_hash: str
    files: dict[str, Entry] = field(default_factory=dict)

    def settings_of(self, name: str) -> Settings:
        """Those of a file; of a new one those of all pictures where they agree, else the usual ones."""
        if name in self.files and (own := self.files[name].settings) is not None:
            return own
        found = {entry.settings for entry in self.files.values() if entry.settings is not None}
        return found.pop() if len(found) == 1 else Settings()


class Tolerances(NamedTuple):
    """What may move unmentioned: size in percent, PSNR in dB, MS-SSIM."""

    size: float = 1.0
    psnr: float = 0.05
    ms_ssim: float = 0.001


class Finding(NamedTuple):
    """One file now and before.

    Attributes
    ----------
    verdict : str
        "ok" and "better" are fine; "larger", "worse", "changed", "missing", "new" and "error" are not.
    why : str
        What the verdict follows from; empty for "ok".
    """

    name: str
    verdict: str
    why: str = ""
    before: Entry | None = None
    now: Entry | None = None

    @property
    def failed(self) -> bool:
        """Is this a regression, or could it not be told?"""
        return self.verdict not in (OK, BETTER)

    @property
    def change(self) -> float | None:
        """Change of the size in percent."""
        if self.before is None or self.now is None:
            return None
        return 100 * (self.now.bytes / self.before.bytes - 1)

    @property
    def record(self) -> dict[str, Any]:
        """As one line of JSON."""
        sides = {"_before": self.before, "": self.now}
        figures = {
            f"{key}{side}": None if entry is None else finite(getattr(entry, key))
            for key in ("bytes", "psnr", "ms_ssim")
            for side, entry in sides.items()
        }
        change = None if self.change is None else round(self.change, 4)
        return {"file": self.name, "verdict": self.verdict, "why": self.why, **figures, "change_percent": change}


def finite(value: float | None) -> float | None:
    """None for infinity, which JSON lacks."""
    return None if value is None or math.isinf(value) else value


def dump(model: ModelInfo, files: Mapping[str, Entry]) -> bytes:
    """The baseline that this installation writes, as the bytes of its file."""
    record = {
        "format": FORMAT,
        "version": VERSION,
        "gancodec": __version__,
        "model": model.name,
        "entropy_hash": model.entropy_hash.hex(),
        "files": {name: files[name].record for name in sorted(files)},
    }
    return (json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(errors="backslashreplace")


def parse(data: bytes) -> Baseline:
    """Read the bytes of a baseline; CorruptFile where they are none, UnsupportedFile for one of a later version."""
    try:
        record = json.loads(data, parse_constant=_no_number)
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']!r}")
        if record["version"] > VERSION:
            raise UnsupportedFile(f"baseline of version {record['version']}; this build reads up to {VERSION}")
        files = {str(name): _entry(name, entry) for name, entry in record["files"].items()}
        version, model, entropy_hash = (record[key] for key in ("gancodec", "model", "entropy_hash"))
        if not files or not all(isinstance(text, str) for text in (version, model, entropy_hash)):
            raise ValueError("names that are no text" if files else "it holds no files")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CorruptFile(f"not a baseline of file sizes: {why}") from error
    return Baseline(model, entropy_hash, files)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _entry(name: str, record: dict[str, Any]) -> Entry:
    size = record["bytes"]
    if type(size) is not int or size <= 0:
        raise ValueError(f"{name}: bytes {size!r}")
    if "decodes" in record:
        return Entry(size)
    settings = Settings(**record["settings"])
    rates = [getattr(settings, rate) for rate in RATES if getattr(settings, rate) is not None]
    quality = math.inf if record["psnr"] is None else record["psnr"]
    figures = [record["bpp"], quality, record["ms_ssim"]]
    if len(rates) != 1 or not all(type(value) in (int, float) for value in [*figures, *rates]):
        raise ValueError(f"{name}: settings or figures are not as they should be")
    if not re.fullmatch("[0-9a-f]{64}", record["sha256"]):
        raise ValueError(f"{name}: sha256 {record['sha256']!r}")
    return Entry(size, record["sha256"], settings, *map(float, figures))


def measure(name: str, data: bytes, settings: Settings, model: str, max_pixels: int = MAX_PIXELS) -> Entry:
    """Encode and decode the bytes of a picture file, or decode those of a .gic file.

    Quality is of the colours alone; alpha is lossless. Raises what the codec raises.
    """
    decoding = DecodeOptions(device=settings.device, realism=0.0, max_pixels=max_pixels)  # quality means fidelity here
    if name.lower().endswith(spec.SUFFIX):
        decode_bytes(data, decoding)
        return Entry(len(data))
    picture = imageio.load(io.BytesIO(data), max_pixels)
    coded = encode_picture(picture, EncodeOptions(**asdict(settings), model=model, max_pixels=max_pixels))
    back = decode_bytes(coded.data, decoding).rgb
    return Entry(
        len(coded.data),
        hashlib.sha256(data).hexdigest(),
        settings if any(getattr(settings, rate) is not None for rate in RATES) else replace(settings, n=0.0),
        round(coded.bpp, 6),
        round(psnr(picture.rgb, back), 4),
        round(ms_ssim(picture.rgb, back), 6),
    )


def compare(name: str, before: Entry, now: Entry, tolerances: Tolerances) -> Finding:
    """What has moved beyond the tolerances. A larger file or a worse picture fails whatever else got better."""
    change = 100 * (now.bytes / before.bytes - 1)
    moves = [("larger" if change > 0 else BETTER, abs(change), tolerances.size, "size {:.2f} % " + _way(change))]
    for key, unit in (("psnr", "PSNR {:.3f} dB "), ("ms_ssim", "MS-SSIM {:.5f} ")):
        old, new = getattr(before, key), getattr(now, key)
        if old is not None and new is not None and old != new:  # infinite on both sides is no move
            gain = new - old
            moves.append(("worse" if gain < 0 else BETTER, abs(gain), getattr(tolerances, key), unit + _way(gain)))
    seen = [(verdict, text.format(by)) for verdict, by, allowed, text in moves if by > allowed + 1e-9]
    verdicts = [verdict for verdict, _ in seen]
    verdict = next((v for v in ("larger", "worse", BETTER) if v in verdicts), OK)
    return Finding(name, verdict, ", ".join(text for _, text in seen), before, now)


def _way(change: float) -> str:
    return "up" if change > 0 else "down"


def examine(
    name: str,
    before: Entry | None,
    read: Callable[[], bytes] | None,
    model: str,
    tolerances: Tolerances,
    max_pixels: int = MAX_PIXELS,
) -> Finding:
    """Measure one file again and compare; whatever is wrong with it becomes the verdict.

    Parameters
    ----------
    read : callable
        The bytes of the file; None where there is no such file.
    """
    if before is None:
        return Finding(name, "new", "not in the baseline")
    if read is None:
        return Finding(name, "missing", "in the baseline, but there is no such file", before)
    try:
        data = read()
        if before.sha256 is not None and hashlib.sha256(data).hexdigest() != before.sha256:
            return Finding(name, "changed", "the picture is not the one that the baseline was made from", before)
        now = measure(name, data, before.settings or Settings(), model, max_pixels)
    except GicError as error:
        return Finding(name, "error", " ".join(str(error).split()), before)
    return compare(name, before, now, tolerances)


def summary(findings: Iterable[Finding], exact: bool) -> tuple[str, bool]:
    """One line that counts the verdicts, and whether the check fails; with `exact` it does for gains too."""
    verdicts = [finding.verdict for finding in findings]
    order = sorted(set(verdicts), key=lambda verdict: ((OK, BETTER, verdict).index(verdict), verdict))
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in order]
    failed = any(verdict != OK and (exact or verdict != BETTER) for verdict in verdicts)
    return f"{len(verdicts)} file{'' if len(verdicts) == 1 else 's'}: {', '.join(counts)}", failed
