"""What a training run holds and how it is written down: networks, EMA, optimiser moments, step and seconds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gancodec.errors import UsageError
from gancodec.models.gic1.training.networks import Trained
from gancodec.models.layers import ResidualBlock
from gancodec.models.recipe import Recipe
from gancodec.models.training import Networks
from gancodec.models.wu2019.training import Wu2019Trained
from gancodec.train.data import Crops
from gancodec.train.muon import Muon, suits
from gancodec.train.recipes import RECIPES


def networks(recipe: Recipe) -> Trained | Wu2019Trained:
    """What a recipe trains."""
    return Trained(recipe) if recipe.stage else Wu2019Trained(recipe)


class State:
    """Everything that a checkpoint holds: weights, EMA, optimiser moments, step and seconds trained."""

    def __init__(self, recipe: Recipe, device: torch.device, seed: int, start: Path | None) -> None:
        torch.manual_seed(seed)
        self.net = networks(recipe).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step, self.seconds = 0, 0.0
        if start is not None:
            begin_from(self.net, ema_of(start))
        self.ema = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        model, *discriminator = self.net.teams()
        kernels, others = [p for p in model if suits(p)], [p for p in model if not suits(p)]
        self.optimisers: list[torch.optim.Optimizer] = [
            *([Muon(kernels, recipe.rate)] if kernels else []),  # a tiny masker has no kernels
            torch.optim.Adam(others, recipe.rate, betas=(0.9, 0.95)),
            *(torch.optim.Adam(team, recipe.rate, betas=(0.5, 0.95)) for team in discriminator),
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


@torch.no_grad()
def begin_from(net: Networks, tensors: dict[str, Tensor]) -> None:
    """Load the weights of an earlier stage; what the natural end has no weights for starts as the faithful one."""
    grow(net, tensors)
    net.hold()
    if isinstance(net, Trained) and net.model.natural is not None:
        natural, faithful = net.model.natural.state_dict(), net.model.generator.state_dict()
        for name in natural.keys() - {k.removeprefix("model.natural.") for k in tensors}:
            natural[name].copy_(faithful[name])


@torch.no_grad()
def grow(net: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load weights of the same network or of one with fewer channels or blocks.

    Residual blocks that the checkpoint lacks start as the identity.
    Where a tensor has grown, the old values fill its first rows and columns; new inputs of old outputs start at 0, so
    that old outputs stay what they were, and new outputs keep their random start. UsageError where nothing fits.
    """
    state = net.state_dict()
    if not tensors.keys() <= state.keys():
        raise UsageError(f"checkpoint of another architecture: {sorted(tensors.keys() - state.keys())[0]}")
    for name, module in net.named_modules():
        if isinstance(module, ResidualBlock) and f"{name}.second.weight" not in tensors:
            module.second.weight.zero_()
            module.second.bias.zero_()  # type: ignore[union-attr]
    for name, old in tensors.items():
        new = state[name]
        if new.ndim != old.ndim or any(n < o for n, o in zip(new.shape, old.shape, strict=True)):
            raise UsageError(
                f"checkpoint of another architecture: {name} is {tuple(old.shape)}, not {tuple(new.shape)}"
            )
        if new.ndim > 1 and name.endswith("weight"):
            new[: old.shape[0]] = 0
        new[tuple(slice(size) for size in old.shape)] = old


def checkpoint_meta(path: Path) -> dict[str, str]:
    """Step and seconds of a checkpoint, or of a folder that `write_ema` filled."""
    with (path / "ema-00.safetensors" if path.is_dir() else path).open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return dict(header["__metadata__"])


def load_ema(checkpoint: Path, recipe: str) -> Trained | Wu2019Trained:
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


@torch.no_grad()
def prepare_quantisation(net: Trained, crops: Crops, seed: int) -> None:
    """Choose the power of two per channel that brings omega (and the hyper-latent) into the network's input range."""
    analyses = [net.model.analyse(crops.batch(16, torch.Generator().manual_seed(seed + i))) for i in range(4)]
    exponents = (("omega", net.context.input_exponent), ("hyper", net.context.hyper_exponent))
    for name, buffer in exponents:
        values = torch.cat([getattr(a, name) for a in analyses]).abs().transpose(0, 1).flatten(1)
        limit = torch.quantile(values[:, :: max(1, values.shape[1] // 100_000)], 0.999, dim=1).clamp(min=1e-3)
        buffer.copy_(torch.floor(torch.log2(127 / 16 / limit)).clamp(-6, 4))
