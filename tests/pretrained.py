"""Folders with networks of the transformers library: the real classes, few channels, seeded weights. And pictures to
show them, and what every map has to hold to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tests.tiny import ODD_PICTURES, picture

SHARED = Path(__file__).parent.parent.parent / "shared"
SIDE = 64  # pixels that the tiny networks see

_GRAY_16 = np.linspace(0, 65535, 70 * 90).astype(np.uint16).reshape(70, 90)
PICTURES = ODD_PICTURES | {"16-bit gray": np.repeat((_GRAY_16 >> 8).astype(np.uint8)[..., None], 3, axis=2)}


def large_picture() -> NDArray[np.uint8]:
    """20 megapixels."""
    return np.tile(picture(500, 400), (10, 10, 1))


def check_map(values: NDArray[np.float32], rgb: NDArray[np.uint8]) -> None:
    """A map of the size of the picture, all of it in [0, 1]."""
    assert values.dtype == np.float32
    assert values.shape == rgb.shape[:2]
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= 1


def tiny_classifier(folder: Path) -> Path:
    """MobileNetV2 with five classes."""
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    return _write(lambda: MobileNetV2ForImageClassification(MobileNetV2Config(num_labels=5, **_slim())), folder)


def tiny_segmenter(folder: Path, background: str = "background") -> Path:
    """DeepLabV3 on MobileNetV2 with three classes."""
    from transformers import MobileNetV2Config, MobileNetV2ForSemanticSegmentation

    config = MobileNetV2Config(output_stride=16, id2label={0: background, 1: "cat", 2: "dog"}, **_slim())
    return _write(lambda: MobileNetV2ForSemanticSegmentation(config), folder)


def tiny_sam2(folder: Path) -> Path:
    """SAM 2 for pictures."""
    from transformers import Sam2Config, Sam2Model

    return _write(lambda: Sam2Model(Sam2Config(**_sam2_parts())), folder)


def tiny_sam2_video(folder: Path) -> Path:
    """SAM 2 for videos, the kind that its makers publish: more weights than a picture needs."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    memory = {"memory_attention_hidden_size": 32, "memory_encoder_hidden_size": 32, "image_size": SIDE}
    return _write(lambda: Sam2VideoModel(Sam2VideoConfig(**_sam2_parts(), **memory)), folder)


def tiny_vit(folder: Path) -> Path:
    """A plain vision transformer, which has no feature map at its end."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(image_size=SIDE, patch_size=16, num_labels=5, **sizes)
    return _write(lambda: ViTForImageClassification(config), folder)


def _write(build: Callable[[], Any], folder: Path) -> Path:
    torch.manual_seed(1)
    network = build()
    for module in network.modules():
        if isinstance(
            module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear
        ):  # transformers' own start is too faint to see anything
            nn.init.kaiming_normal_(module.weight)
    network.save_pretrained(folder)
    colours = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    (folder / "preprocessor_config.json").write_text(json.dumps(colours), encoding="utf-8")
    return folder


def _slim() -> dict[str, Any]:
    return {"depth_multiplier": 0.35, "finegrained_output": False, "image_size": SIDE}


def _sam2_parts() -> dict[str, Any]:
    backbone = {
        "hidden_size": 8,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 4, 4],
        "global_attention_blocks": [3],
    }
    vision = {
        "backbone_config": backbone | {"model_type": "sam2_hiera_det_model"},
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
        "fpn_hidden_size": 32,
    }
    decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
    return {
        "vision_config": vision | {"model_type": "sam2_vision_model"},
        "prompt_encoder_config": {"hidden_size": 32, "image_size": SIDE, "mask_input_channels": 8},
        "mask_decoder_config": decoder,
    }
