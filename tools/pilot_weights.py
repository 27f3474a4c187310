"""Averaged weights of the stand-alone float training of gic2, in the names that recipes of gic2 start from.

    python tools/pilot_weights.py PILOT.safetensors START.safetensors

Biases of the projection, which the pilot has for each of a block's 16 sites, become their mean. Written in float16.
"""

from __future__ import annotations

import re
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from gancodec.models.gic2.receiver import GREY

RENDER = {"condition": "condition", "ada": "ada", "mlp0": "first", "mlp1": "second", "place": "place", "rgb": "to_rgb"}
PARTS = {
    "patch": "model.sender.patch",
    "sender": "model.sender.blocks",
    "to_y": "model.sender.to_latent",
    **{
        f"hyper_{part}": f"model.hyper_encoder.{name}" for part, name in (("in", "inp"), ("mid", "mid"), ("out", "out"))
    },
    "gains": "model.gains",
    "hyper_gains": "model.hyper_gains",
    "index": "model.projection",
    "z_scale": "model.hyper_rows.scale",
    "z_louder": "model.hyper_rows.near",
    "hyper_up": "model.means.up",
    "join": "model.means.join",
    "step": "model.means.steps",
    "mean": "model.means.means",
    "body_in": "model.receiver.inp",
    "scale0": "model.receiver.scale",
    "body.0": "model.receiver.shared",
    "body.1": "model.receiver.own",
    "content": "model.receiver.content",
    **{part: f"model.receiver.render.{name}" for part, name in RENDER.items()},
    "scale1": "model.receiver.render.scale",
    "natural.block": "natural.own",
    **{f"natural.{part}": f"natural.render.{name}" for part, name in RENDER.items()},
    "natural.scale1": "natural.render.scale",
    **{f"natural.{part}": f"natural.{part}" for part in ("noise_scale", "noise_in", "near")},
}
NAME = re.compile("|".join(rf"{re.escape(part)}(?=\.|$)" for part in sorted(PARTS, key=len, reverse=True)))


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the pilot under the names of this package; KeyError for one that it does not have."""
    result = {}
    for name, value in tensors.items():
        found = NAME.match(name)
        if found is None:
            raise KeyError(name)
        result[PARTS[found.group()] + name[found.end() :]] = value
    bias = result["model.projection.bias"]
    result["model.projection.bias"] = bias.view(16, -1).mean(0)
    return with_constants(result)


def with_constants(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with the constants that the pilot's receivers add: a one to every scale and gate, grey to the pixels.

    The faithful end has no biases by place of its own: those of what it begins with do as well.
    """
    result = {k: v.float() for k, v in tensors.items()}
    for name, value in result.items():
        if name.endswith("scale.table"):
            value += 1
        elif name.endswith("render.ada.bias"):
            value[len(value) // 3 :] += 1
        elif name.endswith("render.to_rgb.bias"):
            value += GREY
    place = result.pop("model.receiver.render.place")
    result["model.receiver.content.bias"] += place
    if "natural.render.place" in result:
        result["natural.place"] = result.pop("natural.render.place") - place
    return result


def main(source: str, target: str) -> None:
    """Convert one file."""
    with safe_open(source, "pt") as file:
        given, about = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    plain = {
        name: (value.float() * given[f"{name}@scale"].float() if value.dtype == torch.int8 else value.float())
        for name, value in given.items()
        if not name.endswith("@scale")
    }
    seconds = str(float(about["cpu_hours"]) * 3600)
    save_file(
        {name: value.half() for name, value in renamed(plain).items()},
        target,
        {"step": about["step"], "seconds": seconds, "cpu_seconds": seconds},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
