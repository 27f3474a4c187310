"""Networks of the transformers library: found on this machine, read without running code of theirs, fed with small
copies of pictures. All of it runs on the CPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import sqrt
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancodec.errors import GicError, MissingExtra, MissingWeights, UsageError, optional
from gancodec.types import FloatArray, Pixels

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation of colours in [0, 1]
MOST_REASON = 200  # characters of what transformers says
MOST_ASPECT = 16  # longer pictures are squeezed to this: the short side keeps a quarter of `side`

MOST_SIDE = 2048  # pixels, whatever a config.json asks for: memory stays bounded

# Settings of the whole process are changed meanwhile: what transformers prints, PyTorch's threads, hooks of networks.
_ONE_AT_A_TIME = Lock()


class Network(NamedTuple):
    """A network with the mean and standard deviation (3,) of the colours that it was trained with."""

    model: Any
    mean: FloatArray
    std: FloatArray

    def side(self, default: int) -> int:
        """Pixels of the squares that the network was made for."""
        size = getattr(self.model.config, "image_size", None) or default
        return min(size if isinstance(size, int) else max(size), MOST_SIDE)

    def tensor(self, rgb: Pixels, height: int, width: int) -> torch.Tensor:
        """The whole picture as (1, 3, height, width) float32, normalised."""
        import torch

        small = Image.fromarray(np.ascontiguousarray(rgb)).resize((width, height), Image.Resampling.BILINEAR)
        values = (np.asarray(small, np.float32) / 255 - self.mean) / self.std
        return torch.tensor(values).permute(2, 0, 1)[None].contiguous()


@lru_cache(maxsize=2)
def load(method: str, kind: str, model: str) -> Network:
    """Read a network and what its preprocessor_config.json says of colours; without that file, ImageNet's.

    Parameters
    ----------
    method : str
        For messages, and the extra that brings the packages.
    kind : str
        Name of a class of transformers.
    model : str
        Folder, model.safetensors in a folder, or name in the Hugging Face cache. Weights may be in pytorch_model.bin
        too, of which tensors only are read.

    Raises
    ------
    MissingExtra
        Without transformers, or with one that is older than `kind`.
    MissingWeights
        Where there is no such model, or it cannot be read, or it lacks weights that `kind` has.
    UsageError
        For networks that want blue before red.
    """
    read = _reader(method, kind)
    folder = _folder(method, model)
    with told(MissingWeights, f"saliency {method}: {model} cannot be read"):
        settings = _settings(folder)
        mean, std = (np.array(settings[key], np.float32).reshape(3) for key in ("image_mean", "image_std"))
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ValueError("the mean or the standard deviation of its colours makes no sense")
        network, report = read(folder)
    if settings.get("do_flip_channel_order"):
        raise UsageError(f"saliency {method}: {model} wants blue before red, which is not supported")
    if report["missing_keys"]:
        raise MissingWeights(f"saliency {method}: {model} lacks the weights {min(report['missing_keys'])}")
    return Network(network, mean, std)


@contextmanager
def told(kind: type[GicError], message: str) -> Iterator[None]:
    """Turn what transformers raises, of a dozen kinds since it checks little of what it reads, into one error."""
    try:
        yield
    except (GicError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:MOST_REASON] or type(error).__name__
        raise kind(f"{message}: {reason}") from error


@contextmanager
def running(method: str, model: str) -> Iterator[None]:
    """Around a forward pass: one at a time, on one thread, as sums over several differ with their number."""
    import torch

    with told(UsageError, f"saliency {method}: {model} failed"), _ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def fitting(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width with the proportions of a picture (H, W) and the area of a square of `side` pixels."""
    root = sqrt(min(max(shape[0] / shape[1], 1 / MOST_ASPECT), MOST_ASPECT))
    return round(side * root), round(side / root)


def enlarged(values: NDArray[Any], shape: tuple[int, int]) -> FloatArray:
    """A small map (h, w) as (H, W) float32, bilinear; what is not finite becomes 0."""
    finite = np.nan_to_num(values.astype(np.float32), nan=0, posinf=0, neginf=0)
    return np.array(Image.fromarray(finite).resize(shape[::-1], Image.Resampling.BILINEAR))


def _reader(method: str, kind: str) -> Callable[[Path], tuple[Any, dict[str, Any]]]:
    """What makes a network of a folder, with a report on its weights."""
    made = optional("transformers", f"saliency {method}", method, kind)
    try:
        network_of = made.from_pretrained
    except ImportError as error:  # where a package of its own is missing, what stands there is a dummy
        raise MissingExtra(f"saliency {method}", method) from error
    import torch

    def read(folder: Path) -> tuple[Any, dict[str, Any]]:
        # Made in inference mode, if the caller is in it, the weights would be of no use to Grad-CAM.
        with _ONE_AT_A_TIME, _quiet(), torch.inference_mode(False):
            options = {"dtype": torch.float32, "weights_only": True, "output_loading_info": True}
            network, report = network_of(folder, local_files_only=True, trust_remote_code=False, **options)
        return network, report

    return read


def _folder(method: str, model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    path = Path(model)
    if path.name == WEIGHTS and path.is_file():
        return path.parent
    if path.is_dir():
        return path
    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (ValueError, OSError) as error:
        message = f"saliency {method}: {model} is neither a folder nor in the Hugging Face cache"
        if not isinstance(error, HFValidationError) and not path.exists():  # it could be a name there
            message += f"; download it with: hf download {model}"
        raise MissingWeights(message) from error


def _settings(folder: Path) -> dict[str, Any]:
    """What preprocessor_config.json says, or a timm model's config.json, and what they leave out."""
    said: dict[str, Any] = {}
    path = folder / "preprocessor_config.json"
    if path.exists():
        said = json.loads(path.read_text(encoding="utf-8"))
    elif (folder / "config.json").exists():
        timm = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("pretrained_cfg", {})
        said = {f"image_{key}": timm[key] for key in ("mean", "std") if key in timm}
    return dict(zip(("image_mean", "image_std"), IMAGENET, strict=True)) | said


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and reports that transformers writes on loading."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
