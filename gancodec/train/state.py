"""What a training run holds and how it is written down: networks, EMA, optimiser moments, step and seconds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gancodec.errors import UsageError
from gancodec.models.recipe import Recipe
from gancodec.models.training import Networks
from gancodec.train.muon import Muon, suits
from gancodec.train.recipes import RECIPES


def networks(recipe: Recipe) -> Networks:
    """What a recipe trains."""
    net: Networks = recipe.objective.networks(recipe.model)
    net.prepare(recipe)
    return net


class State:
    """Everything that a checkpoint holds: weights, EMA, optimiser moments, step and seconds trained."""

    def __init__(self, recipe: Recipe, device: torch.device, seed: int, start: Path | None) -> None:
        torch.manual_seed(seed)
        self.net = networks(recipe).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step, self.seconds = 0, 0.0
        if start is not None:
            self.net.begin_from(ema_of(start))
        self.ema = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        # Of batch normalisation: averages over batches, which are no parameters.
        self.statistics = [b for k, b in self.net.named_buffers() if k.endswith(("running_mean", "running_var"))]
        model, *discriminator = self.net.parameter_groups()
        kernels, others = [p for p in model if suits(p)], [p for p in model if not suits(p)]
        self.optimisers: list[torch.optim.Optimizer] = [
            *([Muon(kernels, recipe.rate)] if kernels else []),  # a tiny masker has no kernels
            torch.optim.Adam(others, recipe.rate, betas=(0.9, 0.95)),
            *(torch.optim.Adam(group, recipe.rate, betas=(0.5, 0.95)) for group in discriminator),
        ]

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()} | {
            f"ema.{k}": v for k, v in self.ema.items()
        }
        for o, optimiser in enumerate(self.optimisers):
            for i, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{o}.{i}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        meta = {"step": str(self.step), "seconds": str(self.seconds)}
        partial = path.with_suffix(".partial")
        save_file({k: v.contiguous().cpu().clone() for k, v in tensors.items()}, partial, meta)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint; UsageError where there is none."""
        if not path.exists():
            raise UsageError(f"{path}: nothing to resume")
        tensors = read_tensors(path)
        meta = checkpoint_meta(path)
        self.step, self.seconds = int(meta["step"]), float(meta["seconds"])
        net = {k[4:]: v for k, v in tensors.items() if k.startswith("net.")}
        if {k: v.shape for k, v in net.items()} != {k: v.shape for k, v in self.net.state_dict().items()}:
            raise UsageError(f"{path}: a checkpoint of another recipe")
        self.net.load_state_dict(net)
        self.ema = {k[4:]: v.to(self.ema[k[4:]].device) for k, v in tensors.items() if k.startswith("ema.")}
        for o, optimiser in enumerate(self.optimisers):
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith(f"optimiser.{o}."):
                    _, _, index, key = name.split(".")
                    moments.setdefault(int(index), {})[key] = value
            optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})


def checkpoint_meta(path: Path) -> dict[str, str]:
    """Step and seconds of a checkpoint, or of a folder that `write_ema` filled."""
    with (path / "ema-00.safetensors" if path.is_dir() else path).open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return dict(header["__metadata__"])


def load_ema(checkpoint: Path, recipe: str) -> Networks:
    """Networks with the EMA weights of `checkpoint`, in evaluation mode."""
    net = networks(RECIPES[recipe])
    net.load_state_dict(ema_of(checkpoint))
    return net.eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; UsageError where it is damaged or not there."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: not a checkpoint: {str(error).splitlines()[0]}") from error


def ema_of(path: Path) -> dict[str, Tensor]:
    """EMA weights by name, of a checkpoint or of a folder that `write_ema` filled."""
    if not path.is_dir():
        return {k[4:]: v for k, v in read_tensors(path).items() if k.startswith("ema.")}
    return {k: v.float() for file in sorted(path.glob("ema-*.safetensors")) for k, v in read_tensors(file).items()}


def write_ema(checkpoint: Path, folder: Path, file_mib: int) -> list[Path]:
    """EMA weights as float16 files of at most `file_mib` MiB each, for places that let only small files out."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Tensor]] = [{}]
    room = file_mib << 20
    for name, value in ema_of(checkpoint).items():
        half = value.half()
        if half.nbytes > room - 4096 * len(parts[-1]) // 16 - 4096:  # some room for the file's own header
            parts.append({})
            room = file_mib << 20
        room -= half.nbytes
        parts[-1][name] = half
    paths = [folder / f"ema-{i:02d}.safetensors" for i in range(len(parts))]
    for part, path in zip(parts, paths, strict=True):
        save_file(part, path, checkpoint_meta(checkpoint))
    return paths
