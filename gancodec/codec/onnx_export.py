"""The networks of a model as ONNX files, for programs that run them without PyTorch.

What lies between the two, n, gains or importance matrix, rounding and entropy coding, is integers and NumPy in
`codec.tunable`, `codec.wu2019` and `entropy`.
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
from gancodec.errors import MissingExtra
from gancodec.models.gic1.network import TunableModel
from gancodec.models.inference import build
from gancodec.models.wu2019.codec import STRIDE as WU2019_STRIDE
from gancodec.models.wu2019.network import Wu2019Model
from gancodec.types import BLOCK, LATENT_STRIDE
from gancodec.weights import Weights

if TYPE_CHECKING:
    import onnx

OPSET = 18  # the lowest that PyTorch's exporter writes without converting
PARTS = ("encoder", "generator")


class _Encoder(nn.Module):
    """What the `analyse` of a model computes, as a module."""

    def __init__(self, model: TunableModel | Wu2019Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """rgb (B, 3, H, W) in [0, 1] to the arrays of the model's analysis."""
        return tuple(self.model.analyse(rgb))


def file_name(model: str, part: str) -> str:
    """Name of the file of one of `PARTS`."""
    return f"{model}-{part}.onnx"


def export_onnx(weights: Weights, realism: float | None = None) -> dict[str, bytes]:
    """Encoder and generator of a model, float32, for any batch, height and width.

    The encoder takes ``rgb`` (B, 3, H, W) in [0, 1], H and W multiples of 64, to ``omega`` (B, K, H/16, W/16),
    ``hyper`` (B, Kh, H/64, W/64) and ``importance`` (B, H/64, W/64) in logit units. The generator takes ``latent``
    (B, K, H/16, W/16) with gains undone and ``level`` (B, H/64, W/64) in [0, 31] to ``picture`` (B, 3, H, W), which
    is meant to lie in [0, 1] and not clipped.

    With the wu2019 models all grids are at 1/8: the encoder gives ``omega`` and ``importance`` (B, H/8, W/8), and the
    generator takes ``latent``, which is z, alone.

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
    model = build(weights, torch.device("cpu")).model
    about = {
        "model": info.name,
        "model_id": str(info.id),
        "entropy_hash": info.entropy_hash.hex(),
        "weights_sha256": info.sha256,
        "gancodec_version": __version__,
        "opset": str(OPSET),
    }
    paper = isinstance(model, Wu2019Model)
    sites = BLOCK // (WU2019_STRIDE if paper else LATENT_STRIDE)  # latent sites along the side of a block
    batch, rows, columns = (torch.export.Dim(name, min=1, max=1 << 16) for name in ("batch", "rows", "columns"))
    at_blocks = {0: batch, 1: rows, 2: columns}
    at_sites = {0: batch, 2: sites * rows, 3: sites * columns}
    at_pixels = {0: batch, 2: BLOCK * rows, 3: BLOCK * columns}
    # Sizes to trace with: unlike each other and above 1, so that none is taken for a constant.
    rgb = torch.zeros(2, 3, 3 * BLOCK, 4 * BLOCK)
    given, sizes = {"latent": torch.zeros(2, _channels(model), 3 * sites, 4 * sites)}, [at_sites]
    if not paper:
        given, sizes = given | {"level": torch.zeros(2, 3, 4)}, [at_sites, at_blocks]
    outputs = ["omega", "importance"] if paper else ["omega", "hyper", "importance"]
    generator = model.generator if paper else model.generator_at(chosen)
    return {
        "encoder": _finish(_trace(_Encoder(model), {"rgb": rgb}, [at_pixels], outputs), about),
        "generator": _finish(_trace(generator, given, sizes, ["picture"]), about | {"realism": f"{chosen:g}"}),
    }


def _channels(model: TunableModel | Wu2019Model) -> int:
    return model.config.channels if isinstance(model, Wu2019Model) else model.config.latent_channels


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
