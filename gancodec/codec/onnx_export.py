"""The networks of a model as ONNX files, for programs that run them without PyTorch.

What lies between the two, n, gains or importance matrix, rounding and entropy coding, is integers and NumPy in the
codec of the model's folder.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from gancodec._version import __version__
from gancodec.errors import optional
from gancodec.models.codec import realism_of
from gancodec.models.inference import Graph, build
from gancodec.types import BLOCK
from gancodec.weights import Weights

if TYPE_CHECKING:
    import onnx

OPSET = 18  # the lowest that PyTorch's exporter writes without converting
PARTS = ENCODER, GENERATOR = "encoder", "generator"


def file_name(model: str, part: str) -> str:
    """Name of the file of one of `PARTS`."""
    return f"{model}-{part}.onnx"


def export_onnx(weights: Weights, realism: float | None = None) -> dict[str, bytes]:
    """Encoder and generator of a model, float32, for any batch, height and width.

    The encoder takes ``rgb`` (B, 3, H, W) in [0, 1], H and W multiples of 64, to the arrays of the codec's analysis.
    The generator takes the codec's planes to ``picture`` (B, 3, H, W), which is meant to lie in [0, 1] and not clipped.
    Names and shapes are told where the model's networks are (`graphs`).

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
    for package in ("onnx", "onnxscript"):
        optional(package, "ONNX export", "onnx")
    info = weights.info
    chosen = realism_of(realism, info.default_realism, info.name)
    encoder, generator = build(weights, torch.device("cpu")).graphs(chosen)
    about = {
        "model": info.name,
        "model_id": str(info.id),
        "entropy_hash": info.entropy_hash.hex(),
        "weights_sha256": info.sha256,
        "gancodec_version": __version__,
        "opset": str(OPSET),
    }
    return {
        ENCODER: _finish(_trace(encoder), about),
        GENERATOR: _finish(_trace(generator), about | {"realism": f"{chosen:g}"}),
    }


def _trace(graph: Graph) -> onnx.ModelProto:
    batch, rows, columns = (torch.export.Dim(name, min=1, max=1 << 16) for name in ("batch", "rows", "columns"))
    inputs, sizes = {}, []
    for port in graph.inputs:
        sites, channels = BLOCK // port.stride, () if port.channels is None else (port.channels,)
        # Sizes to trace with: unlike each other and above 1, so that none is taken for a constant.
        inputs[port.name] = torch.zeros(2, *channels, 3 * sites, 4 * sites, dtype=port.dtype)
        place = 1 + len(channels)
        sizes.append({0: batch, place: sites * rows, place + 1: sites * columns})
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph.module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=graph.outputs,
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
