"""The only door from a checkpoint to `weights/`: freezes integers, fits the frequency tables, writes safetensors and
manifest."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from gancodec.entropy.context import entropy_hash
from gancodec.entropy.planes import SYMBOLS, row_count
from gancodec.entropy.tables import fit_counts
from gancodec.errors import GicError
from gancodec.models.blocks import interpolate_rows
from gancodec.models.config import LEVELS, SCALE_MIN, SCALE_STEP, SCALES, SUBLEVELS, Config
from gancodec.models.context import ContextNetwork, GroupContext
from gancodec.models.quantise import ACTIVATION_BITS, WEIGHT_LIMIT, weight_exponents
from gancodec.models.tunable import Gains, TunableModel

GAIN_BITS = 16
MAX_RADIUS = 400
Arrays = dict[str, NDArray[Any]]


@torch.no_grad()
def freeze_entropy(model: TunableModel, context: ContextNetwork) -> Arrays:
    """Integer arrays of `entropy.context.EntropyModel`, with plain logistic frequency tables for now."""
    config = model.config
    arrays: Arrays = {
        "groups": np.array([len(config.groups)], np.int32),
        "latent.depth": np.array([config.depth(level) for level in range(LEVELS)], np.int32),
    }
    arrays |= _gain_arrays("latent", model.gains, context.input_exponent)
    gain = arrays["latent.gain"].astype(np.float64) / (1 << GAIN_BITS)
    arrays["latent.offset"] = np.rint(16 * SCALE_STEP * np.log2(gain / SCALE_MIN)).astype(np.int16)
    arrays |= _gain_arrays("hyper", model.hyper_gains, context.hyper_exponent)
    hyper_gain = arrays["hyper.gain"].astype(np.float64) / (1 << GAIN_BITS)
    hyper_index = SCALE_STEP * (context.hyper_scale.double().numpy() + np.log2(hyper_gain / SCALE_MIN))
    arrays["hyper.rows"] = np.clip(np.rint(hyper_index), 0, SCALES - 1).astype(np.uint8)
    arrays |= _layer_arrays("hyper_in", context.hyper_in)
    arrays |= _layer_arrays("hyper_up", context.hyper_up)
    for i, group in enumerate(context.groups):
        arrays |= _group_arrays(f"group{i}", group)  # type: ignore[arg-type]
    return arrays | logistic_tables()


def _gain_arrays(name: str, gains: Gains, exponent: Tensor) -> Arrays:
    position = (torch.arange(LEVELS * SUBLEVELS) / SUBLEVELS).clamp(max=LEVELS - 1)
    gain = torch.exp(gains.log_gain(position).double())
    return {
        f"{name}.gain": torch.round(gain * (1 << GAIN_BITS)).to(torch.int32).numpy(),
        f"{name}.inverse": torch.round((1 << GAIN_BITS) * torch.exp2(exponent.double()) / gain).to(torch.int32).numpy(),
    }


def _integer_weight(weight: Tensor, exponents: Tensor) -> NDArray[np.int8]:
    scaled = (weight * torch.exp2(exponents)[:, None, None, None]).round().clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)
    return scaled.to(torch.int8).contiguous().numpy()


def _at_accumulator(values: Tensor, exponents: Tensor) -> NDArray[np.int32]:
    return torch.round(values.double() * torch.exp2(exponents.double() + ACTIVATION_BITS)).to(torch.int32).numpy()


def _layer_arrays(name: str, layer: nn.Conv2d, exponents: Tensor | None = None) -> Arrays:
    exponents = weight_exponents(layer.weight) if exponents is None else exponents
    arrays: Arrays = {
        f"{name}.weight": _integer_weight(layer.weight, exponents),
        f"{name}.exponent": exponents.to(torch.int32).numpy(),
    }
    if layer.bias is not None:
        arrays[f"{name}.bias"] = _at_accumulator(layer.bias, exponents)
    return arrays


def _group_arrays(name: str, group: GroupContext) -> Arrays:
    shared = group.first_exponents()
    knots = group.embedding
    rows = interpolate_rows(knots, torch.arange(LEVELS) * ((knots.shape[0] - 1) / (LEVELS - 1)))
    arrays = _layer_arrays(f"{name}.previous", group.previous, shared) | _layer_arrays(
        f"{name}.local", group.local, shared
    )
    arrays[f"{name}.embedding"] = _at_accumulator(rows, shared)
    return arrays | _layer_arrays(f"{name}.middle", group.middle) | _layer_arrays(f"{name}.output", group.output)


def logistic_weights(row: int) -> NDArray[np.float64]:
    """Probabilities of -r .. r and of anything beyond, under the logistic density of a scale index."""
    scale = SCALE_MIN * 2 ** (row / SCALE_STEP)
    radius = min(MAX_RADIUS, max(1, math.ceil(11 * scale)))
    edges = (np.arange(-radius, radius + 2) - 0.5) / scale
    inside = np.diff(0.5 * (1 + np.tanh(edges / 2)))
    return np.append(inside, max(1 - inside.sum(), 1e-7))


def logistic_tables(histograms: list[NDArray[np.float64]] | None = None, strength: float = 400.0) -> Arrays:
    """Frequency tables: logistic priors, pulled towards the `histograms` of coded symbols where there are any.

    `strength` is how many symbols the prior is worth. Histograms are symmetrised: no sign is likelier by design.
    """
    radius, counts = [], []
    for row in range(SCALES):
        weights = logistic_weights(row)
        if histograms is not None:
            seen = histograms[row].copy()
            seen[:-1] = (seen[:-1] + seen[-2::-1]) / 2
            weights = seen + strength * weights
        radius.append((len(weights) - 2) // 2)
        counts.append(fit_counts(weights))
    return {"tables.radius": np.array(radius, np.int32), "tables.counts": np.concatenate(counts).astype(np.int32)}


def plane_tables(channels: int, histograms: list[NDArray[np.float64]] | None = None, strength: float = 16.0) -> Arrays:
    """Integer arrays of `entropy.planes.PlaneModel`: even priors worth `strength` symbols, and what was coded."""
    radius = int(SYMBOLS[-1])
    counts = [fit_counts(np.array([1.0, 1.0]))]  # of the row that is not used
    for row in range(1, row_count(channels)):
        weights = np.full(2 * radius + 2, strength / (len(SYMBOLS) + 1))
        weights[-1] = 0  # nothing lies beyond
        counts.append(fit_counts(weights if histograms is None else weights + histograms[row]))
    sizes = [0, *(radius for _ in counts[1:])]
    return {
        "channels": np.array([channels], np.int32),
        "tables.radius": np.array(sizes, np.int32),
        "tables.counts": np.concatenate(counts).astype(np.int32),
    }


def network_arrays(model: nn.Module) -> Arrays:
    """Encoder, masker and generator as float16 arrays; gains live among the integers. GicError for an overflow."""
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(("gains.", "hyper_gains."))}
    floats = {k: v.detach().to(torch.float16) for k, v in state.items() if v.is_floating_point()}
    if broken := [k for k, v in floats.items() if not v.isfinite().all()]:
        raise GicError(f"{broken[0]}: not finite as float16")
    return {k: v.contiguous().numpy() for k, v in floats.items()}


def entropy_arrays(path: Path) -> Arrays:
    """Integer arrays of a weights file."""
    return {k.removeprefix("entropy."): v for k, v in load_file(path).items() if k.startswith("entropy.")}


def write_weights(
    folder: Path, config: Config, entropy: Arrays, network: Arrays, calibration: dict[str, float], card: Any
) -> Path:
    """Write `<name>.safetensors` and the model's entry in manifest.json (provenance and figures from `card`)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{config.name}.safetensors"
    tensors = {f"entropy.{k}": v for k, v in entropy.items()} | {f"network.{k}": v for k, v in network.items()}
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path)
    path.chmod(0o644)  # safetensors makes files that only their owner may read
    manifest_path = folder / "manifest.json"
    manifest: dict[str, Any] = {"default": config.name, "models": {}}
    if manifest_path.exists():
        manifest = json.loads(manifest_path.read_text())
    manifest["models"][config.name] = {
        "id": config.id,
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "entropy_hash": entropy_hash(entropy).hex(),
        "calibration": calibration,
        **card,
    }
    manifest_path.write_text(json.dumps(manifest, indent=2) + "\n")
    return path
