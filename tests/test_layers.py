"""Imports point strictly downward and never in a circle, and a few packages stay where they may be used."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parent.parent / "gancodec"

# Floors of rooms, the lowest first; a room imports from lower floors only, and from itself. "" is gancodec/__init__.py,
# which shows names of the codec and so stands above it: the version, for those below, is on the ground.
LAYERS = [
    {"_version", "errors", "types", "atomic", "exif", "forks", "workers", "features"},
    {"formats"},
    {"colour", "container", "entropy", "weights", "tiling", "saliency", "messages", "metrics"},
    {"imageio"},
    {"options", "sources"},
    {"models"},
    {"codec"},
    {"", "train", "evaluate", "batch", "pillow_plugin", "sizes"},
    {"cli"},
    {"__main__"},
]
# Floors inside of a room; "" are the files that lie in it. The registry, and it alone, imports from the folders of the
# models: their configurations.
MODELS = {"gic1", "gic2", "wu2019", "split"}
REGISTRY = "gancodec.models.registry"
INNER = {
    "models": [{"levels", "config"}, {f"{model}.config" for model in MODELS}, {""}, MODELS],
    "evaluate": [{"table"}, {"metrics", "inspect"}, {""}, {"report"}],
}
# Files that import torch at their top. No other one may, nor import one of these at its top.
TORCH = (
    "gancodec.features",
    *(f"gancodec.models.{name}" for name in ("inference", "training", "layers", "losses")),
    *(f"gancodec.models.*.{name}" for name in ("network", "context", "discriminator", "inference", "receiver")),
    *("gancodec.models.*.training", "gancodec.models.gic2.layers"),
    *("gancodec.train.*", "gancodec.evaluate.*", "gancodec.codec.onnx_export"),
)
# Functions that import it when they run, by module.
TORCH_LATE = {
    "gancodec.models.*.objectives": "losses",
    "gancodec.models.*.recipes": "losses",
    **{f"gancodec.saliency.{name}": "*" for name in ("networks", "gradcam", "sam2", "segment")},
    "gancodec.cli.*": "*",
}
# Readers that run code from files, and clients of the network: nowhere in the package. See SECURITY.md.
NOWHERE = {
    *("pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"),
    *("socket", "ssl", "http", "urllib", "ftplib", "smtplib", "requests", "urllib3", "httpx", "aiohttp"),
}
ONLY_HERE = {"constriction": "gancodec.entropy.rangecoder"}
# Feature networks of others come as .pth files, which may be read as plain tensors only; ours never do.
TENSOR_FILES = "gancodec.evaluate.metrics.backbones"

TOP, TYPING = "", "TYPE_CHECKING"


class Import(NamedTuple):
    """One import: of a name or module as a full dotted name, and where: TOP, TYPING, or the function it is in."""

    target: str
    where: str


def room_of(module: str) -> str:
    """`codec` for gancodec.codec.api; "" for gancodec itself."""
    return (module.split(".") + [""])[1]


def floors(module: str, target: str) -> tuple[str, str, list[set[str]]]:
    """The rooms of importer and imported, and the floors they are on: those of the house, or inside of one room."""
    room, other = room_of(module), room_of(target)
    if room != other:
        return room, other, LAYERS
    inner = INNER.get(room, [{""}])
    return _inner(module, inner), _inner(target, inner), inner


def _inner(module: str, inner: list[set[str]]) -> str:
    rest = module.split(".")[2:]
    parts = (".".join(rest[:length]) for length in range(len(rest), 0, -1))
    return next((part for part in parts if any(part in floor for floor in inner)), "")


def imports(tree: ast.Module) -> Iterator[Import]:
    """Every import, those inside functions and under ``if TYPE_CHECKING`` too."""
    stack: list[tuple[ast.AST, str]] = [(tree, TOP)]
    while stack:
        node, where = stack.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            stack += [(child, TYPING) for child in node.body] + [(child, where) for child in node.orelse]
            continue
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, where) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names = (f"{module}.{alias.name}" for alias in node.names)
            # `from gancodec import codec` imports a room, `… import __version__` does not
            yield from (Import(n if module != "gancodec" or _is_room(room_of(n)) else module, where) for n in names)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and where != TYPING:
            where = node.name
        stack += [(child, where) for child in ast.iter_child_nodes(node)]


def _is_room(room: str) -> bool:
    return any(room in floor for floor in LAYERS)


def violations(module: str, source: str) -> list[str]:
    """Everything that is wrong with the imports of one module, one line each."""
    tree = ast.parse(source)
    room = room_of(module)
    found = [] if _is_room(room) else [f"{module}: room {room} has no layer; list it in this test"]
    for target, where in imports(tree):
        found += [f"{module} imports {target}: {why}" for why in _faults(module, target, where)]
    allowed = _plain_loads(tree) if module == TENSOR_FILES else set()
    found += [f"{module}: torch.load (line {line})" for line in _torch_loads(tree) if line not in allowed]
    return found


def _faults(module: str, target: str, where: str) -> Iterator[str]:
    top = target.split(".")[0]
    if target.startswith("."):
        yield "relative import"
    if top == "gancodec" and not _below(*floors(module, target)):
        yield "not in a lower layer"
    elif _model(target) not in ("", _model(module)) and module != REGISTRY:
        yield "the folder of a model, which the registry alone knows"
    if top == "torch" and not _may_import_torch(module, where):
        yield "torch at the start of the command line" if room_of(module) == "cli" else "torch, which has to wait"
    if module == "gancodec" and where == TOP and room_of(target) == "codec":
        yield "the codec at the start of the package"
    if top in NOWHERE:
        yield "runs code from files, or uses the network"
    if top in ONLY_HERE and module != ONLY_HERE[top]:
        yield f"only {ONLY_HERE[top]} may"
    if room_of(module) == "container" and top not in sys.stdlib_module_names:
        if room_of(target) not in ("container", "errors") or top != "gancodec":
            yield "container uses the standard library only"


def _model(module: str) -> str:
    """`gic1` for a module in its folder; "" for others."""
    parts = module.split(".")
    return parts[2] if parts[1:2] == ["models"] and parts[2:] and parts[2] in MODELS else ""


def _below(room: str, other: str, layers: list[set[str]]) -> bool:
    """Is the other room on a lower floor, or the same room?"""
    number = {room: floor for floor, rooms in enumerate(layers) for room in rooms}
    return other == room or number.get(other, 99) < number.get(room, 0)


def _may_import_torch(module: str, where: str) -> bool:
    if where == TYPING or any(fnmatch(module, names) for names in TORCH):
        return True
    return where != TOP and any(fnmatch(module, k) and fnmatch(where, v) for k, v in TORCH_LATE.items())


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


def graph(sources: Mapping[str, str], *, running: bool = False) -> dict[str, set[str]]:
    """The modules that each module imports; where `running`, those only that are loaded together with it."""
    found: dict[str, set[str]] = {}
    for module, source in sources.items():
        wanted = [i.target for i in imports(ast.parse(source)) if not running or i.where == TOP]
        # `from gancodec.container import spec` imports that file, `… import Header` the room's own
        modules = (name if name in sources else name.rpartition(".")[0] for name in wanted)
        found[module] = {name for name in modules if name in sources} - {module}
    return found


def circle(sources: Mapping[str, str]) -> list[str]:
    """Modules that import each other, from one back to the same; none where there is no circle."""
    try:
        graphlib.TopologicalSorter(graph(sources)).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def heavy(sources: Mapping[str, str]) -> list[str]:
    """Modules that load torch by what they import at their top, though they may not."""
    loaded, found = graph(sources, running=True), []
    for module in sources:
        if any(fnmatch(module, names) for names in TORCH):
            continue
        reached, stack = set(), [module]
        while stack:
            new = loaded[stack.pop()] - reached
            reached |= new
            stack += new
        found += [f"{module} loads {name}" for name in reached if any(fnmatch(name, names) for names in TORCH[:-3])]
    return sorted(found)


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


def test_no_imports_in_circles() -> None:
    assert circle(modules()) == []


def test_torch_is_loaded_by_networks_only() -> None:
    assert heavy(modules()) == []


def test_every_listed_room_is_there() -> None:
    found = modules()
    rooms = {f"gancodec.{room}" for floor in LAYERS for room in floor if room}
    rooms |= {f"gancodec.{room}.{part}" for room, inner in INNER.items() for floor in inner for part in floor if part}
    assert rooms <= found.keys()
    assert all(any(fnmatch(module, names) for module in found) for names in (*TORCH, *TORCH_LATE))


@pytest.mark.parametrize(
    ("module", "source", "word"),
    [
        ("gancodec.weights", "from gancodec.entropy import tables", "lower layer"),
        ("gancodec.weights", "from gancodec import encode", "lower layer"),
        ("gancodec.container.header", "import numpy", "standard library"),
        pytest.param(
            "gancodec.container.header",
            "from gancodec.types import Picture",
            "standard library",
        ),
        pytest.param(
            "gancodec.entropy.coder",
            "from gancodec import models",
            "lower layer",
            id="gancodec.entropy.walk-from gancodec import models-lower layer",
        ),
        ("gancodec.errors", "def f():\n    from gancodec.codec.api import encode", "lower layer"),
        ("gancodec.codec.api", "import gancodec.cli.app", "lower layer"),
        ("gancodec.train.loop", "from gancodec.evaluate import curves", "lower layer"),
        pytest.param(
            "gancodec.entropy.coder",
            "if True:\n    import torch.nn",
            "torch",
            id="gancodec.entropy.walk-if True:\n    import torch.nn-torch",
        ),
        ("gancodec.weights", "from torch import Tensor", "torch"),
        ("gancodec.saliency.gradcam", "import torch", "torch"),
        pytest.param(
            "gancodec.saliency.static",
            "def f():\n    import torch",
            "torch",
            id="gancodec.saliency.opencv-def f():\n    import torch-torch",
        ),
        ("gancodec.cli.encode", "import torch", "command line"),
        pytest.param(
            "gancodec.models.gic1.codec",
            "import constriction",
            "rangecoder",
            id="gancodec.codec.tunable-import constriction-rangecoder",
        ),
        pytest.param(
            "gancodec.models.layers",
            "import torch as t\nt.load('x')",
            "torch.load",
            id="gancodec.models.blocks-import torch as t\nt.load('x')-torch.load",
        ),
        ("gancodec.train.loop", "from torch import load", "torch.load"),
        pytest.param(
            "gancodec.evaluate.metrics.backbones",
            "import torch\ntorch.load('x')",
            "torch.load",
            id="gancodec.evaluate.backbones-import torch\ntorch.load('x')-torch.load",
        ),
        pytest.param(
            "gancodec.evaluate.metrics.quality",
            "import torch\ntorch.load('x', weights_only=True)",
            "torch.load",
            id="gancodec.evaluate.quality-import torch\ntorch.load('x', weights_only=True)-torch.load",
        ),
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
    ("module", "source", "word"),
    [
        ("gancodec.batch.job", "from gancodec import __version__", "lower layer"),
        ("gancodec.evaluate.run", "def f():\n    from gancodec.train import data", "lower layer"),
        ("gancodec.tiling", "if TYPE_CHECKING:\n    from gancodec.models.codec import Codec", "lower layer"),
        ("gancodec.options", "import typing\nif typing.TYPE_CHECKING:\n    import gancodec.codec", "lower layer"),
        ("gancodec.weights", "class A:\n    def f(self):\n        import gancodec.imageio", "lower layer"),
        ("gancodec.models.gic1.codec", "from gancodec.models.wu2019.config import STRIDE", "folder of a model"),
        ("gancodec.models.split.codec", "def f():\n    import gancodec.models.gic1.symbols", "lower layer"),
        ("gancodec.models.wu2019.codec", "from gancodec.models import gic1", "lower layer"),
        ("gancodec.models.learned", "from gancodec.models.gic1.codec import TunableCodec", "lower layer"),
        ("gancodec.models.stream", "from gancodec.models.split.config import CODERS", "folder of a model"),
        ("gancodec.cli.info", "def f():\n    from gancodec.models.split.codec import read_cells", "folder of a model"),
        ("gancodec.models.gic1.config", "from gancodec.models.registry import MODELS", "lower layer"),
        ("gancodec.models.levels", "from gancodec.models.gic1.config import KNOTS", "lower layer"),
        ("gancodec.evaluate.metrics.quality", "from gancodec.evaluate import rows", "lower layer"),
        ("gancodec.evaluate.metrics.quality", "from gancodec.evaluate.inspect import maps", "lower layer"),
        ("gancodec.evaluate.run", "from gancodec.evaluate.report import page", "lower layer"),
        ("gancodec", "from gancodec.codec.api import encode", "start of the package"),
        ("gancodec.models.learned", "import torch", "torch"),
        ("gancodec.models.learned", "def network():\n    import torch", "torch"),
        ("gancodec.models.gic1.symbols", "from torch import Tensor", "torch"),
        ("gancodec.models.gic1.objectives", "import torch", "torch"),
        ("gancodec.models.gic1.objectives", "class A:\n    def prepare(self):\n        import torch", "torch"),
        ("gancodec.codec.api", "def encode():\n    import torch", "torch"),
        ("gancodec.batch.job", "try:\n    import torch\nexcept ImportError:\n    pass", "torch"),
    ],
)
def test_a_planted_import_is_found(module: str, source: str, word: str) -> None:
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
        pytest.param(
            "gancodec.models.layers",
            "import torch\nfrom safetensors.torch import load_file",
            id="gancodec.models.blocks-import torch\nfrom safetensors.torch import load_file",
        ),
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


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gancodec.batch.job", "from gancodec._version import __version__"),
        ("gancodec.models.registry", "from gancodec.models.gic1 import config as gic1"),
        ("gancodec.models.gic1.inference", "from gancodec.models.registry import config_as"),
        ("gancodec.models.gic1.objectives", "def losses():\n    import torch\nif TYPE_CHECKING:\n    import torch"),
        ("gancodec.models.gic1.training", "import torch\nfrom gancodec.models.gic1.network import Generator"),
        ("gancodec.evaluate.report.tables", "from gancodec.evaluate import curves\nimport gancodec.evaluate.inspect"),
        ("gancodec.evaluate.job", "from gancodec.evaluate.metrics.quality import Quality"),
    ],
)
def test_an_ordinary_import_passes(module: str, source: str) -> None:
    assert violations(module, source) == []


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (("import gancodec.b", ""), []),
        (("import gancodec.b", "import gancodec.a"), ["a", "b"]),
        (("import gancodec.b", "def f():\n    from gancodec import a", "from gancodec.a import x"), []),
        (("import gancodec.b", "def f():\n    from gancodec.a import x"), ["a", "b"]),
        (("import gancodec.b", "if TYPE_CHECKING:\n    from gancodec.a import A"), ["a", "b"]),
        (("import gancodec.b", "from gancodec.c import x", "class A:\n    import gancodec.a"), ["a", "b", "c"]),
        (("import gancodec.a", "x = 'gancodec.a:x'"), []),
    ],
)
def test_a_circle_is_found(sources: tuple[str, ...], expected: list[str]) -> None:
    named = {f"gancodec.{name}": source for name, source in zip("abc", sources, strict=False)}
    assert sorted({module.removeprefix("gancodec.") for module in circle(named)}) == expected


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from gancodec.models import layers", 1),
        ("from gancodec.models.layers import SLOPE", 1),
        ("import gancodec.weights", 1),
        ("def f():\n    import gancodec.models.layers", 0),
        ("if TYPE_CHECKING:\n    import gancodec.models.layers", 0),
    ],
)
def test_torch_by_way_of_another_is_found(source: str, found: int) -> None:
    sources = {"gancodec.codec.api": source, "gancodec.models.layers": "import torch"}
    if "weights" in source:  # two steps away; the middle one is at fault too
        sources["gancodec.weights"] = "import gancodec.models.layers"
    lines = heavy(sources)
    assert len([line for line in lines if line.startswith("gancodec.codec.api")]) == found
