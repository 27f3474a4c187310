"""Class segmentation: everything that is of a known class, people and animals first of all."""

from __future__ import annotations

import numpy as np

from gancodec.errors import UsageError
from gancodec.saliency.networks import enlarged, fitting, load, running
from gancodec.types import FloatArray, Pixels

MODEL = "google/deeplabv3_mobilenet_v2_1.0_513"  # 10 MB, the 20 classes of Pascal VOC
SIDE = 513  # pixels, where the network does not say


def segment(rgb: Pixels, model: str = MODEL) -> FloatArray:
    """One minus the probability of the background, class 0 of networks that were trained to tell objects from it.

    Networks that name every pixel (ADE20K, Cityscapes) have no background and do not fit. The picture is seen at the
    area that the network was trained with, in its own proportions.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    model : str
        Of `AutoModelForSemanticSegmentation`, see `saliency_map`.

    Returns
    -------
    (H, W) float32
        Probability of any object, in [0, 1]; not stretched, so it stays low where there is none.

    Raises
    ------
    MissingExtra, MissingWeights
    UsageError
        Where class 0 is not called a background in the network's config.json.

    References
    ----------
    .. [1] Chen, Papandreou, Schroff, Adam: Rethinking atrous convolution for semantic image segmentation, 2017.
    """
    network = load("segment", "AutoModelForSemanticSegmentation", model)
    import torch

    with running("segment", model), torch.inference_mode():
        first = network.model.config.id2label[0]
        if "background" not in first.lower():
            raise UsageError(f"saliency segment: {model}: class 0 is {first}, not the background")
        x = network.tensor(rgb, *fitting(rgb.shape[:2], network.side(SIDE)))
        values = 1 - network.model(pixel_values=x).logits.softmax(1)[0, 0]
    return np.clip(enlarged(values.numpy(), rgb.shape[:2]), 0, 1)
