"""The only door from a checkpoint to `weights/`: freezes integers, fits the frequency tables, writes safetensors and
manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from gancodec.entropy.tables import Arrays, entropy_hash
from gancodec.errors import GicError
from gancodec.models.config import Config


def network_arrays(model: nn.Module, elsewhere: tuple[str, ...]) -> Arrays:
    """A model as float16 arrays, without those whose names begin as `elsewhere` says: they live among the integers.
    GicError for an overflow."""
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(elsewhere)}
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
