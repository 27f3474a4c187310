"""The tiny gic2 model that the vectors of codec 6 are released with, for tests that need its files or its integers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

from gancodec import weights

FOLDER = Path(__file__).parent / "vectors" / "v1-gic2-tiny"
NAME = "gic2-tiny"


def add_gic2(folder: Path) -> None:
    """Install the model into a folder of weights, beside what is there, which stays the default."""
    entry = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))["models"][NAME]
    shutil.copy(FOLDER / entry["file"], folder)
    path = folder / "manifest.json"
    manifest: dict[str, Any] = {"default": NAME, "models": {}}
    if path.exists():
        manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["models"][NAME] = entry
    path.write_text(json.dumps(manifest), encoding="utf-8")


def with_gic2(folder: Path) -> Path:
    """An empty folder as one of the installed models and this one; returns it."""
    for path in weights.folder().iterdir():
        if path.suffix == ".safetensors":
            (folder / path.name).symlink_to(path.resolve())
        else:
            shutil.copy(path, folder)
    add_gic2(folder)
    return folder


def gic2_weights() -> weights.Weights:
    """The model itself."""
    with mock.patch.dict(os.environ, {weights.ENVIRONMENT: str(FOLDER)}):
        return weights.get(NAME)
