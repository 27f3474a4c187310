"""The only door from a checkpoint to `weights/`: fits the frequency tables on coded symbols, calibrates n, measures
real files, writes safetensors and manifest."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import nn

from gancodec import container
from gancodec.codec.api import codec_of, decode_with, encode_with
from gancodec.entropy.tables import Arrays, entropy_hash
from gancodec.errors import GicError, UsageError
from gancodec.metrics import ms_ssim, psnr
from gancodec.models import tiled
from gancodec.models.config import Config
from gancodec.models.inference import network_of
from gancodec.models.layers import ByteLinear, to_bytes
from gancodec.models.learned import LearnedCodec
from gancodec.models.registry import config_of
from gancodec.models.stream import Frame
from gancodec.models.training import Networks
from gancodec.options import EncodeOptions
from gancodec.train.data import Crops
from gancodec.train.recipes import RECIPES
from gancodec.train.state import checkpoint_meta, load_ema
from gancodec.types import IntArray, Picture
from gancodec.weights import SCALE_SUFFIX, ModelInfo, Weights

FIT_NS = (3.0, 2.2, 1.5, 0.8, 0.0, -0.8, -1.6, -2.4, -3.2)
CALIBRATION_NS = (3.0, 2.0, 1.0, 0.0, -1.0, -2.0)


class Measured(NamedTuple):
    """Means over pictures, of real files."""

    bpp: float
    psnr: float
    ms_ssim: float


class HistogramCoder:
    """A coder that only counts: symbols by table row. Tables are fitted to what it saw."""

    def __init__(self, radius: Sequence[int]) -> None:
        self.histograms = [np.zeros(2 * r + 2) for r in radius]

    def code(self, rows: IntArray, symbols: IntArray | None) -> IntArray:
        """Count `symbols` and return them."""
        if symbols is None:
            raise ValueError("counts writing only")
        for row in np.unique(rows):
            histogram = self.histograms[row]
            radius = (len(histogram) - 2) // 2
            values = symbols[rows == row]
            inside = np.abs(values) <= radius
            np.add.at(histogram, values[inside] + radius, 1)
            histogram[-1] += np.count_nonzero(~inside)
        return symbols

    def finish(self) -> bytes:
        """Nothing was written."""
        return b""


def freeze(
    net: Networks, config: Config, pictures: Sequence[NDArray[np.uint8]], released: Arrays | None = None
) -> Weights:
    """Freeze a network: integers, tables fitted on `pictures` over all n, calibration of n.

    With the `released` entropy arrays of a model, these stay as they are, tables and all, so that its files can still
    be read; UsageError where the network's integers are not theirs.
    """
    entropy = net.integers()
    if released is not None and any(
        k not in released or not np.array_equal(released[k], v)
        for k, v in entropy.items()
        if not k.startswith("tables.")
    ):
        raise UsageError(f"{config.name} is released with other integers: its files would be lost; give a new name")
    network = network_arrays(net.model, network_of(config.name).elsewhere)
    calibration = {"logit_offset": 0.0, "logit_slope": 1.0, "log_bpp_at_0": math.log(0.15), "log_bpp_slope": -0.5}
    codec = _codec(net, config, entropy, network, calibration)
    analyses = [codec.analyse(p) for p in pictures]
    entropy = released or entropy | _fitted_tables(net, codec, pictures, analyses)
    codec = _codec(net, config, entropy, network, calibration)
    calibration = _calibrate(codec, analyses, pictures, net.n_at)
    return _codec(net, config, entropy, network, calibration).weights


AnyCodec = LearnedCodec[Any, Any, Any]


def _fitted_tables(
    net: Networks, codec: AnyCodec, pictures: Sequence[NDArray[np.uint8]], analyses: Sequence[Any]
) -> Arrays:
    """Tables fitted to what is coded of `pictures`."""
    coder = HistogramCoder(codec.entropy.tables.radius.tolist())
    for name in net.coders:
        for picture, analysis in zip(pictures, analyses, strict=True):
            for n in FIT_NS:
                levels = codec.levels_at(analysis, n)
                frame = Frame(Picture(picture).geometry, name, levels.shift)
                codec.walk(lambda: coder, frame, codec.wanted_of(analysis, levels))
    return net.tables(coder.histograms)


def _codec(net: Networks, config: Config, entropy: Arrays, network: Arrays, calibration: dict[str, float]) -> AnyCodec:
    known = (True, True, "", calibration, Path(), net.default_realism)
    info = ModelInfo(config.id, config.name, "", entropy_hash(entropy), *known)
    return codec_of(Weights(info, entropy, network), "cpu")


def _calibrate(
    codec: AnyCodec,
    analyses: Sequence[Any],
    pictures: Sequence[NDArray[np.uint8]],
    n_at: tuple[tuple[float, float], ...],
) -> dict[str, float]:
    """Fit the tunability curve by least squares, n having been stretched first to the rates `n_at`, if there are
    some."""
    means = []
    for n in CALIBRATION_NS:
        rates = []
        for analysis, picture in zip(analyses, pictures, strict=True):
            streams = tiled.encode(codec, analysis, Picture(picture).geometry, codec.levels_at(analysis, n))
            rates.append(8 * sum(map(len, itertools.chain(*streams))) / (picture.shape[0] * picture.shape[1]))
        means.append(np.mean(rates))
    log_mean, ns = np.log(means), np.array(CALIBRATION_NS)
    slope, offset = 1.0, 0.0
    if n_at:
        raw = [float(np.interp(math.log(bpp), log_mean, ns)) for _, bpp in n_at]
        slope = (raw[0] - raw[1]) / (n_at[0][0] - n_at[1][0])
        offset = slope * n_at[0][0] - raw[0]
    curve = np.polyfit((ns + offset) / slope, log_mean, 1)
    return {
        "logit_offset": offset,
        "logit_slope": slope,
        "log_bpp_at_0": float(curve[1]),
        "log_bpp_slope": float(curve[0]),
    }


def install(weights: Weights, config: Config, folder: Path, card: dict[str, Any]) -> Path:
    """Write `<name>.safetensors` and the model's entry in manifest.json (provenance and figures from `card`)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{config.name}.safetensors"
    parts = {"entropy": weights.entropy, "network": weights.network}
    save_file(
        {f"{part}.{k}": np.ascontiguousarray(v) for part, arrays in parts.items() for k, v in arrays.items()}, path
    )
    path.chmod(0o644)  # safetensors makes files that only their owner may read
    manifest_path = folder / "manifest.json"
    manifest: dict[str, Any] = {"default": config.name, "models": {}}
    if manifest_path.exists():
        manifest = json.loads(manifest_path.read_text())
    manifest["models"][config.name] = {
        "id": config.id,
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "entropy_hash": entropy_hash(weights.entropy).hex(),
        "calibration": weights.info.calibration,
        **card,
    }
    manifest_path.write_text(json.dumps(manifest, indent=2) + "\n")
    return path


def network_arrays(model: nn.Module, elsewhere: tuple[str, ...]) -> Arrays:
    """A model as float16 arrays, and matrices that ship in int8 as those with the scale of each row.

    Without those whose names begin as `elsewhere` says: they live among the integers. GicError for an overflow.
    """
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(elsewhere)}
    for name, module in model.named_modules():
        if isinstance(module, ByteLinear) and f"{name}.weight" in state:
            state[f"{name}.weight"], state[f"{name}.weight{SCALE_SUFFIX}"] = to_bytes(module.weight)
    floats = {k: v.detach().to(torch.float16) for k, v in state.items() if v.is_floating_point()}
    if broken := [k for k, v in floats.items() if not v.isfinite().all()]:
        raise GicError(f"{broken[0]}: not finite as float16")
    bytes_ = {k: v for k, v in state.items() if v.dtype == torch.int8}
    return {k: v.contiguous().numpy() for k, v in (floats | bytes_).items()}


def entropy_arrays(path: Path) -> Arrays:
    """Integer arrays of a weights file."""
    return {k.removeprefix("entropy."): v for k, v in load_file(path).items() if k.startswith("entropy.")}


def measure(weights: Weights, pictures: Sequence[NDArray[np.uint8]], realism: float = 0.0, **options: Any) -> Measured:
    """Encode each picture to a real file, decode it, and average rate and quality."""
    codec = codec_of(weights, "cpu")
    rows = []
    for rgb in pictures:
        encoded = encode_with(codec, Picture(rgb), EncodeOptions(**options))
        decoded = decode_with(container.read(encoded.data), codec, realism).rgb
        rows.append((encoded.bpp, psnr(decoded, rgb), ms_ssim(decoded, rgb)))
    return Measured(*(float(v) for v in np.mean(rows, axis=0)))


def export_checkpoint(
    recipe: str,
    checkpoint: Path,
    data: Path,
    folder: Path,
    description: str,
    pictures: int,
    realism: float = 1.0,
    experimental: bool = False,
) -> Path:
    """Checkpoint to weights file and manifest entry; tables and n are fitted on `pictures` training pictures.

    `realism` is the default of a model with a natural end; files of an `experimental` one may be refused by later
    weights. Where parts are trained only, a model that `folder` has already keeps its entropy arrays. UsageError for a
    recipe without integer symbols, or integers that are not the released ones.
    """
    if not 0 <= realism <= 1:
        raise UsageError(f"realism {realism:g}: must be in [0, 1]")
    chosen = RECIPES.get(recipe)
    if chosen is None or chosen.objective.unfinished:
        raise UsageError(f"{recipe}: {chosen.objective.unfinished if chosen else 'no such recipe'}")
    net, config = load_ema(checkpoint, recipe), config_of(chosen.model)
    crops = Crops(data, chosen.crop, torch.device("cpu"))
    if not crops.held_out:
        raise UsageError(f"{data}: too few pictures to hold some out")
    some = crops.pictures[:: max(1, len(crops.pictures) // pictures)][:pictures]
    fitted_on = [np.ascontiguousarray(p.permute(1, 2, 0).numpy()) for p in some]
    released = folder / f"{config.name}.safetensors"
    kept = entropy_arrays(released) if chosen.only and released.exists() else None
    weights = freeze(net, config, fitted_on, kept)
    held_out = {f"n={n:g}": measure(weights, crops.held_out[:24], n=n)._asdict() for n in (2.0, 1.0, 0.0, -1.0, -2.0)}
    card: dict[str, Any] = {"description": description, "training": checkpoint_meta(checkpoint)}
    if experimental:
        card["experimental"] = True
    if weights.info.default_realism is not None:
        card["default_realism"] = realism
        held_out |= {
            f"n={n:g} beta=1": measure(weights, crops.held_out[:24], realism=1.0, n=n)._asdict()
            for n in (2.0, 1.0, 0.0)
        }
    card["held_out"] = held_out
    return install(weights, config, folder, card)


def validate(
    net: Networks, config: Config, pictures: Sequence[NDArray[np.uint8]], ns: Sequence[float], realism: float
) -> list[Measured]:
    """Freeze `net` as it is, tables fitted on these very pictures, and measure real files at each n."""
    weights = freeze(net, config, pictures)
    return [measure(weights, pictures, realism, n=n) for n in ns]
