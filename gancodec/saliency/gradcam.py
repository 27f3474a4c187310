"""Grad-CAM: where an image classifier found the class that it sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gancodec.errors import UsageError, optional
from gancodec.saliency.networks import Network, enlarged, fitting, load, running
from gancodec.saliency.static import stretched
from gancodec.types import FloatArray, Pixels

if TYPE_CHECKING:
    import torch

MODEL = "google/mobilenet_v2_1.0_224"  # 14 MB, ImageNet
SIDE = 224  # pixels, where the network does not say


def gradcam(rgb: Pixels, model: str = MODEL) -> FloatArray:
    """Grad-CAM of the predicted class, by captum, on any convolutional classifier that transformers reads.

    The classifier sees the whole picture at the area that it was trained with, in its own proportions. The feature map
    is the last that has more than one position; each of its channels is weighted by the mean gradient of the class
    score, and what speaks against the class is cut off.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    model : str
        Of `AutoModelForImageClassification`, see `saliency_map`. With timm installed also timm's classifiers.

    Returns
    -------
    (H, W) float32
        Stretched to [0, 1]; zero everywhere where nothing speaks for the class.

    Raises
    ------
    MissingExtra, MissingWeights
    UsageError
        For a classifier that does not end in a feature map, such as a plain vision transformer.

    References
    ----------
    .. [1] Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra: Grad-CAM, ICCV 2017.
    """
    attribution_of = optional("captum.attr", "saliency gradcam", "gradcam").LayerGradCam
    network = load("gradcam", "AutoModelForImageClassification", model)
    with running("gradcam", model):
        values = _weighted_map(attribution_of, network, rgb)
    if values is None:
        raise UsageError(f"saliency gradcam: {model} does not end in a feature map; choose a convolutional network")
    return stretched(enlarged(values, rgb.shape[:2]))


def _weighted_map(attribution_of: Any, network: Network, rgb: Pixels) -> FloatArray | None:
    """Grad-CAM (h, w) at the size of the last feature map; None without one."""
    import torch

    def scores(x: torch.Tensor) -> torch.Tensor:
        return network.model(pixel_values=x).logits  # type: ignore[no-any-return]

    # The caller may be in inference mode, where nothing can be differentiated.
    with torch.inference_mode(False), torch.enable_grad():
        x = network.tensor(rgb, *fitting(rgb.shape[:2], network.side(SIDE)))
        layer, best = _last_map(network.model, scores, x)
        if layer is None:
            return None
        values = attribution_of(scores, layer).attribute(x, best, relu_attributions=True)
    result: FloatArray = values[0, 0].detach().numpy()
    return result


def _last_map(model: Any, scores: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> tuple[Any, int]:
    """The module that yields the last feature map, None where something else comes after; and the class predicted."""
    import torch

    found: list[Any] = [None]

    def look(layer: Any, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.dim() > 2 and output[0, 0].numel() > 1:
            # No map: tokens (1, T, C), or channels last (1, h, w, C) as far as these outnumber the picture's columns.
            is_map = output.dim() == 4 and output.shape[2] <= x.shape[2] and output.shape[3] <= x.shape[3]
            found[0] = layer if is_map else None

    hooks = [module.register_forward_hook(look) for module in model.modules()]
    try:
        with torch.no_grad():
            best = int(scores(x).argmax())
    finally:
        for hook in hooks:
            hook.remove()
    return found[0], best
