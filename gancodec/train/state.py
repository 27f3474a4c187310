"""What a training run holds and how it is written down: networks, EMA, optimiser moments, step and seconds."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from gancodec.errors import UsageError
from gancodec.models.layers import to_bytes
from gancodec.models.recipe import Recipe
from gancodec.models.training import Networks
from gancodec.train.muon import Muon, is_matrix, suits
from gancodec.train.recipes import RECIPES
from gancodec.weights import SCALE_SUFFIX


def networks(recipe: Recipe) -> Networks:
    """What a recipe trains."""
    net: Networks = recipe.objective.networks(recipe.model)
    net.prepare(recipe)
    return net


class State:
    """Everything that a checkpoint holds: weights, EMA, optimiser moments, step and seconds trained.

    Attributes
    ----------
    name : str
        The recipe's.
    step : int
    seconds, cpu_seconds : float
        By the clock on the wall, and by those of the processes together.
    """

    def __init__(self, name: str, device: torch.device, seed: int, start: Path | None) -> None:
        """`start` has averaged weights to begin with; where they are of this very recipe, the run goes on at their
        step."""
        torch.manual_seed(seed)
        self.name, recipe = name, RECIPES[name]
        self.net = networks(recipe).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step, self.seconds, self.cpu_seconds = 0, 0.0, 0.0
        if start is not None:
            self._begin(start)
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

    def _begin(self, start: Path) -> None:
        tensors, meta = ema_of(start), checkpoint_meta(start)
        self.net.begin_from(tensors)
        if meta.get("recipe") == self.name:
            if missing := self.net.state_dict().keys() - tensors.keys():
                raise UsageError(f"{start}: only a part of the weights: no {min(missing)}")
            self._count(start, meta)

    def _count(self, path: Path, meta: dict[str, str]) -> None:
        try:
            self.step, self.seconds = int(meta["step"]), float(meta["seconds"])
            self.cpu_seconds = float(meta.get("cpu_seconds", 0))  # checkpoints did not always tell
        except (KeyError, ValueError) as error:
            raise UsageError(f"{path}: does not tell step and seconds") from error

    @torch.no_grad()
    def average(self, decay: float) -> None:
        """Move the averaged weights towards the present ones; batch normalisation also counts its batches."""
        present = {k: v for k, v in self.net.state_dict().items() if v.is_floating_point()}
        torch._foreach_lerp_([self.ema[k] for k in present], list(present.values()), 1 - decay)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()} | {
            f"ema.{k}": v for k, v in self.ema.items()
        }
        for o, optimiser in enumerate(self.optimisers):
            for i, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{o}.{i}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        meta = {"recipe": self.name, "step": str(self.step), "seconds": str(self.seconds)}
        meta["cpu_seconds"] = str(self.cpu_seconds)
        partial = path.with_suffix(".partial")
        save_file({k: v.contiguous().cpu().clone() for k, v in tensors.items()}, partial, meta)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint; UsageError where there is none."""
        if not path.exists():
            raise UsageError(f"{path}: nothing to resume")
        tensors, meta = read_tensors(path), checkpoint_meta(path)
        self._count(path, meta)
        net = {k[4:]: v for k, v in tensors.items() if k.startswith("net.")}
        shapes = {k: v.shape for k, v in net.items()}
        if meta.get("recipe", self.name) != self.name or shapes != {
            k: v.shape for k, v in self.net.state_dict().items()
        }:
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
    """Recipe, step and seconds of a checkpoint, or of what `write_ema` wrote: a file, or a folder of them."""
    file = path / "ema-00.safetensors" if path.is_dir() else path
    try:
        with safe_open(file, "pt") as opened:
            return dict(opened.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise _not_a_checkpoint(file, error) from error


def load_ema(checkpoint: Path, recipe: str) -> Networks:
    """Networks with the EMA weights of `checkpoint`, in evaluation mode."""
    net = networks(RECIPES[recipe])
    tensors = ema_of(checkpoint)
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise UsageError(f"{checkpoint}: not the weights of {recipe}") from error
    return net.eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; UsageError where it is damaged or not there."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _not_a_checkpoint(path, error) from error


def _not_a_checkpoint(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path}: not a checkpoint: {str(error).splitlines()[0]}")


def ema_of(path: Path) -> dict[str, Tensor]:
    """EMA weights by name, of a checkpoint or of what `write_ema` wrote: a file, or a folder of them."""
    files = sorted(path.glob("ema-*.safetensors")) if path.is_dir() else [path]
    found = {k: v for file in files for k, v in read_tensors(file).items()}
    averaged = {k[4:]: v for k, v in found.items() if k.startswith("ema.")}
    if averaged:  # of a checkpoint
        return averaged
    weights = {k: _unpacked(v, found.get(k + SCALE_SUFFIX)) for k, v in found.items() if not k.endswith(SCALE_SUFFIX)}
    if not weights:
        raise UsageError(f"{path}: no averaged weights in it")
    return weights


def write_ema(checkpoint: Path, folder: Path, file_mib: int, int8: bool = False) -> list[Path]:
    """EMA weights as float16 files of at most `file_mib` MiB each, for places that let only small files out.

    With `int8`, matrices are bytes with a float16 scale for each row, which halves them once more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Tensor]] = [{}]
    room = file_mib << 20
    for name, value in ema_of(checkpoint).items():
        packed = _packed(name, value, int8)
        size = sum(tensor.nbytes for tensor in packed.values())
        if size > room - 4096 * len(parts[-1]) // 16 - 4096:  # some room for the file's own header
            parts.append({})
            room = file_mib << 20
        room -= size
        parts[-1] |= packed
    paths = [folder / f"ema-{i:02d}.safetensors" for i in range(len(parts))]
    for part, path in zip(parts, paths, strict=True):
        save_file(part, path, checkpoint_meta(checkpoint))
    return paths


def _packed(name: str, value: Tensor, int8: bool) -> dict[str, Tensor]:
    """A tensor as it is written, with its scale if it has one."""
    if not (int8 and is_matrix(value)):
        return {name: value.half()}
    values, scale = to_bytes(value)
    return {name: values, name + SCALE_SUFFIX: scale}


def _unpacked(value: Tensor, scale: Tensor | None) -> Tensor:
    return value.float() if scale is None else value.float() * scale.float()
