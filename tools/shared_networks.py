"""The pretrained MobileNetV2 and DeepLabV3 of ../shared/backbones as folders that the transformers library reads.

python tools/shared_networks.py ../shared/backbones build/networks
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
).split()


def main() -> None:
    """Write both, each to a folder that is named as the saliency method it is for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    write_classifier(arguments.out / "gradcam", arguments.shared)
    write_segmenter(arguments.out / "segment", arguments.shared)


def write_classifier(folder: Path, shared: Path) -> Path:
    """MobileNetV2, 1000 classes of ImageNet; returns `folder`."""
    import torch
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    source = shared_models(shared).MobileNetV2(shared / "mobilenet_v2.safetensors")
    network = MobileNetV2ForImageClassification(MobileNetV2Config(num_labels=1000))
    with torch.no_grad():
        _copy_trunk(source, network.mobilenet_v2)
        _copy(source, "features.18.0", network.mobilenet_v2.conv_1x1)
        network.classifier.weight.copy_(source.w("classifier.1.weight").flatten(1))
        network.classifier.bias.copy_(source.w("classifier.1.bias"))
    return _save(network, folder)


def write_segmenter(folder: Path, shared: Path) -> Path:
    """DeepLabV3 on MobileNetV2, background and 20 classes of Pascal VOC; returns `folder`."""
    import torch
    from transformers import MobileNetV2Config, MobileNetV2ForSemanticSegmentation

    source = shared_models(shared).DeepLabV3(shared / "deeplabv3_mnv2_voc.safetensors")
    config = MobileNetV2Config(output_stride=16, image_size=513, id2label=dict(enumerate(VOC)))
    network = MobileNetV2ForSemanticSegmentation(config)
    head = network.segmentation_head
    with torch.no_grad():
        _copy_trunk(source, network.mobilenet_v2)
        network.mobilenet_v2.conv_1x1.convolution.weight.zero_()  # belongs to the classifier, not used here
        _copy(source, "image_pooling", head.conv_pool)
        _copy(source, "aspp0", head.conv_aspp)
        _copy(source, "concat_projection", head.conv_projection)
        head.classifier.convolution.weight.copy_(source.w("logits.weight"))
        head.classifier.convolution.bias.copy_(source.w("logits.bias"))
    return _save(network, folder)


def shared_models(shared: Path) -> Any:
    """The module models.py of ../shared/backbones."""
    spec = importlib.util.spec_from_file_location("shared_models", shared / "models.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(shared / "models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _copy_trunk(source: Any, trunk: Any) -> None:
    for name, layer in _pairs(trunk):
        _copy(source, name, layer)


def _pairs(trunk: Any) -> Iterator[tuple[str, Any]]:
    """Names in torchvision's MobileNetV2, and the same layers in that of transformers."""
    yield "features.0.0", trunk.conv_stem.first_conv
    yield "features.1.conv.0.0", trunk.conv_stem.conv_3x3
    yield "features.1.conv.1", trunk.conv_stem.reduce_1x1
    for index, block in enumerate(trunk.layer, 2):
        yield f"features.{index}.conv.0.0", block.expand_1x1
        yield f"features.{index}.conv.1.0", block.conv_3x3
        yield f"features.{index}.conv.2", block.reduce_1x1


def _copy(source: Any, name: str, layer: Any) -> None:
    """A convolution with its normalisation folded in: what is left of the latter adds the bias and scales by 1."""
    layer.convolution.weight.copy_(source.w(f"{name}.weight"))
    layer.normalization.weight.fill_(sqrt(1 + layer.normalization.eps))
    layer.normalization.bias.copy_(source.w(f"{name}.bias"))


def _save(network: Any, folder: Path) -> Path:
    network.save_pretrained(folder)
    colours = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(colours), encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
