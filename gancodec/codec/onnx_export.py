"""The networks of a model as ONNX files, for programs that run them without PyTorch.

What lies between the two, gains, rounding and entropy coding, is integers and NumPy in `codec.tunable` and `entropy`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gancodec import __version__
from gancodec.codec.api import realism_of
from gancodec.codec.network import Network
from gancodec.errors import MissingExtra
from gancodec.models.tunable import TunableModel
from gancodec.types import BLOCK, LATENT_STRIDE
from gancodec.weights import Weights

if TYPE_CHECKING:
    import onnx

OPSET = 18  # the lowest that PyTorch's exporter writes without converting
PARTS = ("encoder", "generator")
SITES = BLOCK // LATENT_STRIDE  # latent sites along the side of a block


class _Encoder(nn.Module):
    """What `TunableModel.analyse` computes, as a module."""

    def __init__(self, model: TunableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """rgb (B, 3, H, W) in [0, 1] to omega, hyper and importance."""
        omega, hyper, importance = self.model.analyse(rgb)
        return omega, hyper, importance


def file_name(model: str, part: str) -> str:
    """Name of the file of one of `PARTS`."""
    return f"{model}-{part}.onnx"


def export_onnx(weights: Weights, realism: float | None = None) -> dict[str, bytes]:
    """Encoder and generator of a model, float32, for any batch, height and width.

    The encoder takes ``rgb`` (B, 3, H, W) in [0, 1], H and W multiples of 64, to ``omega`` (B, K, H/16, W/16),
    ``hyper`` (B, Kh, H/64, W/64) and ``importance`` (B, H/64, W/64) in logit units. The generator takes ``latent``
    (B, K, H/16, W/16) with gains undone and ``level`` (B, H/64, W/64) in [0, 31] to ``picture`` (B, 3, H, W), which
    is meant to lie in [0, 1] and not clipped.

    Parameters
    ----------
    weights : Weights
    realism : float, optional
        In [0, 1], fixed in the generator's weights; the model's default otherwise.

    Returns
    -------
    dict of str to bytes
        By part, one of `PARTS`. The metadata tells model, id, entropy hash, SHA-256 of the weights, realism, opset and
        version of gancodec.

    Raises
    ------
    MissingExtra
        Without onnx or onnxscript.
    UsageError
        For a realism out of range, or above 0 where the model has no natural end.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra("ONNX export", "onnx") from error
    info = weights.info
    chosen = realism_of(realism, info)
    model = Network(weights, torch.device("cpu")).model
    about = {
        "model": info.name,
        "model_id": str(info.id),
        "entropy_hash": info.entropy_hash.hex(),
        "weights_sha256": info.sha256,
        "gancodec_version": __version__,
        "opset": str(OPSET),
    }
    batch, rows, columns = (torch.export.Dim(name, min=1, max=1 << 16) for name in ("batch", "rows", "columns"))
    at_blocks = {0: batch, 1: rows, 2: columns}
    at_sites = {0: batch, 2: SITES * rows, 3: SITES * columns}
    at_pixels = {0: batch, 2: BLOCK * rows, 3: BLOCK * columns}
    # Sizes to trace with: unlike each other and above 1, so that none is taken for a constant.
    rgb = torch.zeros(2, 3, 3 * BLOCK, 4 * BLOCK)
    latent, level = torch.zeros(2, model.config.latent_channels, 3 * SITES, 4 * SITES), torch.zeros(2, 3, 4)
    encoder = _trace(_Encoder(model), {"rgb": rgb}, [at_pixels], ["omega", "hyper", "importance"])
    given = {"latent": latent, "level": level}
    generator = _trace(model.generator_at(chosen), given, [at_sites, at_blocks], ["picture"])
    return {
        "encoder": _finish(encoder, about),
        "generator": _finish(generator, about | {"realism": f"{chosen:g}"}),
    }


def _trace(module: nn.Module, inputs: dict[str, Tensor], sizes: list[Any], outputs: list[str]) -> onnx.ModelProto:
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=tuple(sizes),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # torch gives None to nobody who asks for dynamo
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on itself: deprecations inside torch, operators of torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _finish(proto: onnx.ModelProto, about: dict[str, str]) -> bytes:
    """Check, label and serialise; where in the source each node came from is dropped, as it names local folders."""
    import onnx

    for node in proto.graph.node:
        node.ClearField("metadata_props")
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        value.ClearField("metadata_props")
    proto.graph.ClearField("metadata_props")
    proto.ClearField("metadata_props")
    onnx.helper.set_model_props(proto, about)
    proto.producer_name, proto.producer_version = "gancodec", about["gancodec_version"]
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString(deterministic=True))
