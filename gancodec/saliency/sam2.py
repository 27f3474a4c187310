"""Segment Anything 2: how sure a model of objects is that a pixel belongs to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gancodec.saliency.networks import enlarged, load, running
from gancodec.saliency.static import stretched
from gancodec.types import FloatArray, Pixels

if TYPE_CHECKING:
    import torch

MODEL = "facebook/sam2.1-hiera-tiny"  # 156 MB
GRID = 8  # points a side
AT_ONCE = 4  # points; more are no faster, and each takes 30 MB in the decoder


def sam2(rgb: Pixels, model: str = MODEL) -> FloatArray:
    """Confidence of the most confident mask that covers a pixel, for prompts on a grid of 8 x 8 points.

    The paper behind this codec takes "a list of masks alongside a confidence score for each mask" as saliency and says
    no more. Here every point yields three masks (part, object, whole), the confidence is the overlap with the truth
    that the model predicts for its mask, and no mask is left out. The network is fed a square, whatever the picture's
    proportions. It is slow, and the paper found it to prefer backgrounds; it is here for comparison.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    model : str
        Of `Sam2Model`, see `saliency_map`; the video models of the hub serve as well.

    Returns
    -------
    (H, W) float32
        Stretched to [0, 1].

    Raises
    ------
    MissingExtra, MissingWeights

    References
    ----------
    .. [1] Ravi et al.: SAM 2, segment anything in images and videos, 2024.
    .. [2] Goldman, Rizwan: Context aware GAN image compression, section 3.
    """
    network = load("sam2", "Sam2Model", model)
    import torch

    best = torch.zeros(())
    with running("sam2", model), torch.inference_mode():
        side = network.model.config.prompt_encoder_config.image_size
        embeddings = network.model.get_image_embeddings(network.tensor(rgb, side, side))
        for points in torch.split(_grid(side), AT_ONCE):
            found = network.model(input_points=points[None, :, None], image_embeddings=embeddings)
            confidence = found.iou_scores[..., None, None].clamp(0, 1) * (found.pred_masks > 0)
            best = torch.maximum(best, confidence[0].flatten(0, 1).amax(0))
    return stretched(enlarged(best.numpy(), rgb.shape[:2]))


def _grid(side: int) -> torch.Tensor:
    """Points (GRID * GRID, 2) as x, y in a square of `side` pixels."""
    import torch

    steps = (torch.arange(GRID) + 0.5) * (side / GRID)
    return torch.cartesian_prod(steps, steps)
