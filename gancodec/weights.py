"""Model name or id to verified arrays: integers of the entropy model, float16 of the networks. Never imports torch.

Looked for in the folder that GANCODEC_WEIGHTS names, then in the installed package, then in the repository. Only
safetensors files that the manifest lists are read, and only where their SHA-256 is the manifest's.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gancodec import atomic
from gancodec.errors import GicError, MissingWeights

if TYPE_CHECKING:  # numpy takes longer to import than `gancodec info` takes
    import numpy as np
    from numpy.typing import NDArray

ENVIRONMENT = "GANCODEC_WEIGHTS"
SCALE_SUFFIX = "@scale"  # of the name of an int8 matrix: the float16 scale of each of its rows
MAX_BYTES = 1 << 30  # of a weights file, which is read whole to be hashed; the shipped ones have 12 MB
_PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class ModelInfo:
    """One model of the manifest.

    Attributes
    ----------
    id, name : int, str
        As in the file header and in ``--model``.
    sha256 : str
        Of the weights file.
    entropy_hash : bytes
        First 8 bytes of the hash of the integer entropy model, as in the file header.
    installed, default : bool
    description : str
        How it was trained, one line.
    calibration : dict of str to float
        n to importance logit, and the tunability curve.
    path : Path
        Of the weights file.
    default_realism : float or None
        What files are decoded with unless something else is asked for, in [0, 1]. None where the generator has no
        natural end: then 0 (most faithful) is all there is.
    experimental : bool
        Other weights may replace it, and they refuse its files.
    """

    id: int
    name: str
    sha256: str
    entropy_hash: bytes
    installed: bool
    default: bool
    description: str
    calibration: dict[str, float]
    path: Path
    default_realism: float | None = None
    experimental: bool = False


@dataclass(frozen=True, eq=False)
class Weights:
    """Arrays of one model: `entropy` integers by name, `network` float16 by parameter name, or int8 and its scale."""

    info: ModelInfo
    entropy: dict[str, NDArray[Any]]
    network: dict[str, NDArray[Any]]

    def network_floats(self) -> dict[str, NDArray[np.float32]]:
        """The network's arrays in float32; KeyError for an int8 matrix without a scale."""
        return {
            name: (
                values.astype("f4") * self.network[name + SCALE_SUFFIX].astype("f4")
                if values.dtype == "i1"
                else values.astype("f4")
            )
            for name, values in self.network.items()
            if not name.endswith(SCALE_SUFFIX)
        }


def folder() -> Path:
    """Where the manifest is; MissingWeights where there is none."""
    named = os.environ.get(ENVIRONMENT)
    candidates = [Path(named)] if named else [_PACKAGE / "_weights", _PACKAGE.parent / "weights"]
    for candidate in candidates:
        if (candidate / "manifest.json").is_file():
            return candidate
    raise MissingWeights(f"no weights: no manifest.json in {' or '.join(map(str, candidates))}")


def available() -> list[ModelInfo]:
    """Every model of the manifest, the default first."""
    place = folder()
    try:
        manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
        models = [_info(name, entry, manifest["default"], place) for name, entry in manifest["models"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise MissingWeights(f"{place / 'manifest.json'}: unreadable manifest: {error!r}") from error
    return sorted(models, key=lambda m: (not m.default, m.id))


def known() -> list[ModelInfo]:
    """`available`; none where there is no manifest."""
    try:
        return available()
    except MissingWeights:
        return []


def _info(name: str, entry: dict[str, Any], default: str, place: Path) -> ModelInfo:
    realism = None if (given := entry.get("default_realism")) is None else float(given)
    if realism is not None and not 0 <= realism <= 1:
        raise ValueError(f"default_realism {realism} is not in [0, 1]")
    path = place / Path(entry["file"]).name  # a manifest names files beside itself, nothing else
    return ModelInfo(
        id=int(entry["id"]),
        name=name,
        sha256=str(entry["sha256"]),
        entropy_hash=bytes.fromhex(entry["entropy_hash"]),
        installed=path.is_file(),
        default=name == default,
        description=str(entry.get("description", "")),
        calibration={k: float(v) for k, v in entry["calibration"].items()},
        path=path,
        default_realism=realism,
        experimental=bool(entry.get("experimental", False)),
    )


def find(key: str | int | None) -> ModelInfo:
    """Model by name, by numeric id, or the default for None; MissingWeights where it is not installed."""
    models = available()
    for model in models:
        if (key is None and model.default) or key in (model.name, model.id):
            if not model.installed:
                raise MissingWeights(f"model {model.name}: {model.path.name} is not installed")
            return model
    raise MissingWeights(
        f"model {key}: unknown; installed: {', '.join(m.name for m in models if m.installed) or 'none'}"
    )


def store_calibration(name: str, values: dict[str, float]) -> Path:
    """Add `values` to the calibration of a model in the manifest; its other entries and its weights stay.

    Raises MissingWeights for an unknown model, GicError where the manifest cannot be written.
    """
    find(name)
    path = folder() / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["models"][name]["calibration"].update(values)
    try:
        atomic.replace(path, (json.dumps(manifest, indent=2) + "\n").encode())
    except OSError as error:
        raise GicError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


_loaded: dict[str, Weights] = {}  # by SHA-256: what is built from weights is cached by their identity


def _read(info: ModelInfo) -> bytes:
    """A weights file, once its SHA-256 is the manifest's; MissingWeights otherwise."""
    try:
        if info.path.stat().st_size > MAX_BYTES:
            raise MissingWeights(f"{info.path.name}: more than {MAX_BYTES} bytes")
        data = info.path.read_bytes()
    except OSError as error:
        raise MissingWeights(f"{info.path.name} cannot be read: {error.strerror or error}") from error
    from hashlib import sha256  # whose library `info` need not wait for

    if sha256(data).hexdigest() != info.sha256:
        raise MissingWeights(
            f"{info.path.name}: SHA-256 differs from the manifest's; the file is damaged or not the released one"
        )
    return data


def _load(info: ModelInfo) -> Weights:
    """Arrays of a weights file. Nothing is parsed before its SHA-256 is known to be right; MissingWeights otherwise,
    and where it is no safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as parse

    data = _read(info)
    try:
        arrays = parse(data)
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: a type that numpy has not
        raise MissingWeights(f"{info.path.name}: not a safetensors file of numpy arrays: {error}") from error
    parts: tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]] = ({}, {})
    for name, array in arrays.items():
        kind, _, rest = name.partition(".")
        parts[kind == "network"][rest] = array
    return Weights(info, *parts)


def get(key: str | int | None) -> Weights:
    """Weights of a model by name, id, or the default for None; the same object for the same manifest entry."""
    info = find(key)
    weights = _loaded.get(info.sha256)
    if weights is None or weights.info != info:
        weights = _loaded[info.sha256] = _load(info)
    return weights
