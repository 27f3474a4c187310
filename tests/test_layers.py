"""Imports point strictly downward, and a few packages stay in the one room that may use them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import gancodec

PACKAGE = Path(__file__).parent.parent / "gancodec"

LAYERS = [
    {"", "errors", "types", "atomic", "colour", "exif", "workers"},  # "" is gancodec/__init__.py
    {"container", "entropy", "models", "weights", "saliency", "imageio", "tiling", "metrics", "features"},
    {"", "errors", "types", "atomic", "colour", "exif"},  # "" is gancodec/__init__.py
    {"container", "entropy", "models", "weights", "saliency", "imageio", "tiling", "metrics", "messages"},
    {"codec"},
    {"train", "evaluate", "sizes", "batch", "pillow_plugin"},
    {"cli"},
    {"__main__"},
]
LAYER_OF = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}
TORCH_FREE = {
    "",
    "errors",
    "messages",
    "types",
    "container",
    "entropy",
    "imageio",
    "colour",
    "exif",
    "weights",
    "tiling",
    "metrics",
    "saliency",
    "atomic",
    "workers",
}
# Saliency by networks: torch is there, but nobody else should wait for it.
TORCH_LATE = {f"gancodec.saliency.{name}" for name in ("networks", "gradcam", "sam2", "segment")}
LAZY = gancodec._LAZY  # names of the top level that import a room at first use
# Readers that run code from files, and clients of the network: nowhere in the package. See SECURITY.md.
NOWHERE = {
    *("pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"),
    *("socket", "ssl", "http", "urllib", "ftplib", "smtplib", "requests", "urllib3", "httpx", "aiohttp"),
}
ONLY_HERE = {"constriction": "gancodec.entropy.rangecoder"}
# Feature networks of others come as .pth files, which may be read as plain tensors only; ours never do.
TENSOR_FILES = "gancodec.evaluate.metrics.backbones"


class Import(NamedTuple):
    """One imported module, as a full dotted name."""

    module: str
    lazy: bool  # inside a function


def room_of(module: str) -> str:
    """`codec` for gancodec.codec.api; "" for gancodec itself."""
    return (module.split(".") + [""])[1]


def imports(tree: ast.Module) -> Iterator[Import]:
    """Every import that runs; those under ``if TYPE_CHECKING`` do not."""
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, lazy = stack.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            stack += [(child, lazy) for child in node.orelse]
            continue
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module == "gancodec":  # `from gancodec import codec` imports a room, `… import __version__` does not
                yield from (Import(LAZY.get(alias.name) or _top(alias.name), lazy) for alias in node.names)
            else:
                yield Import(module, lazy)
        inner = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        stack += [(child, inner) for child in ast.iter_child_nodes(node)]


def _top(name: str) -> str:
    return f"gancodec.{name}" if name in LAYER_OF else "gancodec"


def violations(module: str, source: str) -> list[str]:
    """Everything that is wrong with the imports of one module, one line each."""
    tree = ast.parse(source)
    room = room_of(module)
    found = [] if room in LAYER_OF else [f"{module}: room {room} has no layer; list it in this test"]
    for target, lazy in imports(tree):
        found += [f"{module} imports {target}: {why}" for why in _faults(module, room, target, lazy)]
    allowed = _plain_loads(tree) if module == TENSOR_FILES else set()
    found += [f"{module}: torch.load (line {line})" for line in _torch_loads(tree) if line not in allowed]
    return found


def _faults(module: str, room: str, target: str, lazy: bool) -> Iterator[str]:
    top = target.split(".")[0]
    if target.startswith("."):
        yield "relative import"
    if top == "gancodec" and room_of(target) != room and not _below(room_of(target), room):
        yield "not in a lower layer"
    if top == "torch" and room in TORCH_FREE and not (lazy and module in TORCH_LATE):
        yield "torch in a room that has to work without it"
    if top == "torch" and room == "cli" and not lazy:
        yield "torch at the start of the command line"
    if top in NOWHERE:
        yield "runs code from files, or uses the network"
    if top in ONLY_HERE and module != ONLY_HERE[top]:
        yield f"only {ONLY_HERE[top]} may"
    if room == "container" and top not in sys.stdlib_module_names:
        if room_of(target) not in ("container", "errors") or top != "gancodec":
            yield "container uses the standard library only"


def _below(lower: str, room: str) -> bool:
    if room == "":  # gancodec/__init__.py shows the names of its own layer
        return LAYER_OF.get(lower) == 0
    return LAYER_OF.get(lower, 99) < LAYER_OF.get(room, 0)


def _torch_loads(tree: ast.Module) -> Iterator[int]:
    """Lines that use torch.load, under whatever name torch was imported."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "torch"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "load" and ast.unparse(node.value) in names:
            yield node.lineno
        if isinstance(node, ast.ImportFrom) and node.module == "torch" and "load" in [a.name for a in node.names]:
            yield node.lineno


def _plain_loads(tree: ast.Module) -> set[int]:
    """Lines of calls torch.load(..., weights_only=True), which build nothing but tensors."""
    return {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
        for keyword in node.keywords
        if keyword.arg == "weights_only" and ast.unparse(keyword.value) == "True"
    }


def modules() -> dict[str, str]:
    """Source of every module of the package by dotted name."""
    return {
        ".".join(("gancodec", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path.read_text(encoding="utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def test_imports_point_downward() -> None:
    found = modules()
    assert {"gancodec", "gancodec.errors", "gancodec.cli.app"} <= set(found)
    assert [line for module, source in found.items() for line in violations(module, source)] == []


@pytest.mark.parametrize(
    ("module", "source", "word"),
    [
        ("gancodec.weights", "from gancodec.entropy import tables", "lower layer"),
        ("gancodec.weights", "from gancodec import encode", "lower layer"),
        ("gancodec.container.header", "import numpy", "standard library"),
        ("gancodec.container.header", "from gancodec.types import Picture", "standard library"),
        ("gancodec.models.gic1.symbols", "from gancodec import models", "lower layer"),
        ("gancodec.errors", "def f():\n    from gancodec.codec.api import encode", "lower layer"),
        ("gancodec.codec.api", "import gancodec.cli.app", "lower layer"),
        ("gancodec.train.loop", "from gancodec.evaluate import curves", "lower layer"),
        ("gancodec.models.gic1.symbols", "if True:\n    import torch.nn", "torch"),
        ("gancodec.weights", "from torch import Tensor", "torch"),
        ("gancodec.saliency.gradcam", "import torch", "torch"),
        ("gancodec.saliency.opencv", "def f():\n    import torch", "torch"),
        ("gancodec.cli.encode", "import torch", "command line"),
        ("gancodec.models.gic1.codec", "import constriction", "rangecoder"),
        ("gancodec.models.layers", "import torch as t\nt.load('x')", "torch.load"),
        ("gancodec.train.loop", "from torch import load", "torch.load"),
        ("gancodec.evaluate.backbones", "import torch\ntorch.load('x')", "torch.load"),
        ("gancodec.evaluate.quality", "import torch\ntorch.load('x', weights_only=True)", "torch.load"),
        ("gancodec.train.shards", "def f():\n    import pickle", "code from files"),
        ("gancodec.cli.encode", "from urllib.request import urlopen", "network"),
        ("gancodec.codec.api", "from . import rate", "relative"),
        ("gancodec.novel.thing", "", "no layer"),
    ],
)
def test_a_violation_is_found(module: str, source: str, word: str) -> None:
    found = violations(module, source)
    assert len(found) == 1
    assert word in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "gancodec.container.header",
            "import struct\nfrom gancodec.container import spec\nfrom gancodec.errors import CorruptFile",
        ),
        ("gancodec", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from gancodec.codec.api import encode"),
        ("gancodec.cli.app", "from gancodec import __version__\ndef f():\n    import torch"),
        ("gancodec.entropy.rangecoder", "import constriction"),
        ("gancodec.models.layers", "import torch\nfrom safetensors.torch import load_file"),
        ("gancodec.weights", "from safetensors.numpy import load"),
        ("gancodec.saliency.gradcam", "def f():\n    import torch"),
        pytest.param(
            "gancodec.evaluate.metrics.backbones",
            "import torch\ntorch.load('x', weights_only=True)",
            id="gancodec.evaluate.backbones-import torch\ntorch.load('x', weights_only=True)",
        ),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert violations(module, source) == []
