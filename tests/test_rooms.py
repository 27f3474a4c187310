"""A model or codec is named in its own room and in the one list: nothing else may know which one it deals with."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gancodec.container import spec
from gancodec.models.registry import CODECS, MODELS

PACKAGE = Path(__file__).parent.parent / "gancodec"
ROOMS = {entry.name for entry in CODECS.values()}  # folders of models/
NAMES = ROOMS | MODELS.keys()
WORDS = {"split"}  # codecs called like a word of everyday language: named by a whole string or an option only
IDS = {name for name in vars(spec) if name.startswith(("CODEC_", "CODER_"))}
FORMAT = "container/spec.py"
CONTRACT = ("codec", "stream", "learned", "inference", "recipe", "training")
CODEC_TYPES = re.compile(r"\b(Codec|LearnedCodec|StreamCodec)\b")
MOST_FILE, MOST_FUNCTION, MOST_PRODUCT = 400, 50, 22_500  # lines


def sources() -> dict[str, str]:
    """Source of every product file by its path in the package."""
    return {p.relative_to(PACKAGE).as_posix(): p.read_text(encoding="utf-8") for p in sorted(PACKAGE.rglob("*.py"))}


def room_sources(found: Mapping[str, str]) -> dict[str, list[str]]:
    """Sources of the files of each room of models/."""
    return {room: [s for path, s in found.items() if path.startswith(f"models/{room}/")] for room in ROOMS}


def class_names(source: str) -> set[str]:
    """Names of the classes that a file defines."""
    return {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)}


def _room_classes() -> set[str]:
    """Classes of the rooms whose names nothing else in the package has."""
    found = sources()
    inside = set().union(*(class_names(s) for parts in room_sources(found).values() for s in parts))
    return inside - set().union(*(class_names(s) for path, s in found.items() if not _in_room(path)))


def _in_room(path: str) -> bool:
    return any(path.startswith(f"models/{room}/") for room in ROOMS)


ROOM_CLASSES = _room_classes()


# --- what nobody outside of models/ may do


def faults(path: str, source: str) -> list[str]:
    """Everything by which a product file tells one model or codec from another, one line each."""
    tree = ast.parse(source)
    found = [f"{path}: file of the name of codec {name}" for name in _camel(Path(path).stem) & ROOMS]
    docs, codecs = _docstrings(tree), _codecs(tree)
    for node in ast.walk(tree):
        if id(node) not in docs:
            found += [f"{path}:{getattr(node, 'lineno', 0)}: {why}" for why in _faults(path, node, codecs)]
    return found


def _faults(path: str, node: ast.AST, codecs: set[str]) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield from (f"names {name}" for name in sorted(_named(text)))
        case ast.ClassDef(name=name) if _camel(name) & ROOMS:
            yield f"class {name} of a codec's name"
        case ast.ImportFrom() | ast.Import():
            yield from (f"imports {name}" for name in _imported(node) if _of_room(name))
        case ast.Compare():
            sides = [node.left, *node.comparators]
            for one, op, other in zip(sides, node.ops, sides[1:], strict=False):
                if not _may_compare(one, op, other):
                    yield f"compares {ast.unparse(node)}"
        case ast.MatchClass(cls=kind) if _last(kind) in ROOM_CLASSES:
            yield f"asks for class {ast.unparse(kind)}"
        case ast.Call(func=ast.Name("isinstance" | "issubclass"), args=[_, kinds]):
            asked = {_last(part) for part in ast.walk(kinds)} & ROOM_CLASSES
            yield from (f"asks for class {name}" for name in asked)
        case ast.Call(func=ast.Name("getattr" | "hasattr" as asked), args=[of, *_]) if _last(of) in codecs:
            yield f"{asked} on a codec"
    if not path.startswith("container/") and _last(node) in IDS:
        yield f"uses {_last(node)}"


def _last(node: ast.AST) -> str:
    """The name, or the attribute at the end, of an expression; "" for others."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _named(text: str) -> set[str]:
    """Models and codecs that a text names, as whole words."""
    names = "|".join(sorted(NAMES - WORDS, key=len, reverse=True))
    words = re.findall(rf"(?<![A-Za-z0-9])(?:{names})(?![A-Za-z0-9])", text)
    return {*words} | {name for name in WORDS if text == name or re.search(rf"--profile[ =]{name}\b", text)}


def _camel(name: str) -> set[str]:
    """Words of SplitCodec or split_codec, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+", name)}


def _docstrings(tree: ast.Module) -> set[int]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    first = (node.body[0] for node in ast.walk(tree) if isinstance(node, kinds) and node.body)
    return {id(node.value) for node in first if isinstance(node, ast.Expr)}


def _codecs(tree: ast.Module) -> set[str]:
    """Names of what is a codec: by its name, or by its annotation."""
    annotated = [(n.arg, n.annotation) for n in ast.walk(tree) if isinstance(n, ast.arg)]
    annotated += [(_last(n.target), n.annotation) for n in ast.walk(tree) if isinstance(n, ast.AnnAssign)]
    return {"codec"} | {name for name, kind in annotated if kind and CODEC_TYPES.search(ast.unparse(kind))}


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    return [prefix + alias.name for alias in node.names]


def _of_room(module: str) -> bool:
    parts = module.split(".")
    return parts[:2] == ["gancodec", "models"] and bool(ROOMS & set(parts[2:3]))


def _may_compare(one: ast.expr, op: ast.cmpop, other: ast.expr) -> bool:
    """No codec's id is compared, but with None, or looked up in the one list; `.name` is a text, `.model` a model's."""
    if not {_last(one), _last(other)} & {"codec", "id"} or not any(isinstance(e, ast.Attribute) for e in (one, other)):
        return True
    if isinstance(op, ast.In | ast.NotIn):
        return _last(other) == "CODECS"
    harmless = {"name"} if "codec" in (_last(one), _last(other)) else {"model"}
    return bool({_last(one), _last(other)} & harmless) or any(ast.unparse(e) == "None" for e in (one, other))


def test_no_product_file_knows_a_model_or_codec() -> None:
    outside = {path: s for path, s in sources().items() if not path.startswith("models/") and path != FORMAT}
    assert len(outside) > 100
    assert [line for path, source in outside.items() for line in faults(path, source)] == []


def test_what_models_share_names_none() -> None:
    shared = {path: s for path, s in sources().items() if re.fullmatch(r"models/(?!registry)\w+\.py", path)}
    assert len(shared) > 10
    found = [line for path, source in shared.items() for line in faults(path, source)]
    assert [line for line in found if "compares" not in line] == []  # a file's codec with that of its model


@pytest.mark.parametrize(
    ("path", "source", "word"),
    [
        ("codec/api.py", "name = 'gic1'", "names gic1"),
        ("cli/info.py", "def f(kind: str = 'wu2019-small') -> None: ...", "names wu2019-small"),
        ("cli/models.py", "text = f'such as gic1-tiny, {x}'", "names gic1-tiny"),
        ("cli/models.py", "HELP = 'weights of gic1 models'", "names gic1"),
        ("batch/job.py", "if options.profile == 'split': pass", "names split"),
        ("cli/saliency.py", "HELP = 'what `encode --profile split` keeps'", "names split"),
        ("codec/split.py", "", "file of the name"),
        ("train/train_gic1.py", "", "file of the name"),
        ("codec/api.py", "class SplitSettings: ...", "codec's name"),
        ("train/loop.py", "class Wu2019: ...", "codec's name"),
        ("codec/api.py", "from gancodec.models.split.codec import SALIENT", "imports"),
        ("cli/export.py", "from gancodec.models import gic1 as model", "imports"),
        ("evaluate/ours.py", "def f():\n    import gancodec.models.wu2019.symbols", "imports"),
        ("train/freeze.py", "if TYPE_CHECKING:\n    from gancodec.models.gic1 import codec", "imports"),
        ("codec/api.py", "wanted = spec.CODEC_SPLIT", "uses CODEC_SPLIT"),
        ("cli/info.py", "from gancodec.container.spec import CODER_WEBP\nx = CODER_WEBP", "uses CODER_WEBP"),
        ("codec/api.py", "if header.codec == 1: pass", "compares"),
        ("codec/api.py", "x = 2 if 0 != parsed.header.codec else 3", "compares"),
        ("sizes.py", "if codec.id in (0, 2): pass", "compares"),
        ("sizes.py", "if type(codec).id == other: pass", "compares"),
        ("codec/api.py", "if header.codec == PROFILES[name].codec: pass", "compares"),
        ("cli/info.py", "if header.codec > 0: pass", "compares"),
        ("codec/api.py", "if isinstance(codec, TunableCodec): pass", "class TunableCodec"),
        ("codec/api.py", "x = issubclass(kind, (int, models.SplitCodec))", "class SplitCodec"),
        ("train/loop.py", "x = isinstance(config, TunableConfig | None)", "class TunableConfig"),
        ("train/loop.py", "match net:\n    case Wu2019Model(): pass", "class Wu2019Model"),
        ("codec/api.py", "x = getattr(codec, 'entropy', None)", "getattr on a codec"),
        ("codec/api.py", "def f(it: Codec) -> bool:\n    return hasattr(it, 'network')", "hasattr on a codec"),
        ("evaluate/ours.py", "x = hasattr(self.codec, 'levels_at')", "hasattr on a codec"),
        ("train/freeze.py", "it: LearnedCodec[Any, Any, Any] = f()\ngetattr(it, 'entropy')", "getattr on a codec"),
    ],
)
def test_knowing_a_model_or_codec_is_found(path: str, source: str, word: str) -> None:
    found = faults(path, source)
    assert len(found) == 1
    assert word in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "codec/api.py",
            '"""Files of gic1."""\nclass A:\n    """Of wu2019."""\n    def f(self):\n        """split."""',
        ),
        ("codec/api.py", "words = text.split(',') + 'lists are split here'.split()  # gic1"),
        ("workers.py", "import gc\ngc.collect()\nname = 'gic'"),
        ("cli/options.py", "from gancodec.models.registry import PROFILES\nHELP = f'Of {next(iter(PROFILES))}.'"),
        ("codec/api.py", "from gancodec.models.codec import Codec\nx = isinstance(codec, Codec)"),
        ("cli/info.py", "x = CODECS[header.codec].name if header.codec in CODECS else ''"),
        ("codec/api.py", "if header.codec not in registry.CODECS: pass"),
        ("codec/api.py", "number = info.codec if profile.codec is None else profile.codec"),
        ("cli/info.py", "model = next(m for m in known() if m.id == header.model)"),
        ("evaluate/run.py", "mine = [r for r in rows if r.codec == codec.name]"),
        ("container/header.py", "x = CODER_HUFFMAN"),
        ("cli/info.py", "CODER_NAMES = {number: name for name, number in spec.CODERS.items()}"),
        ("codec/api.py", "x = getattr(options, name)"),
        ("train/data.py", "class Splits: ..."),
    ],
)
def test_what_tells_none_apart_passes(path: str, source: str) -> None:
    assert faults(path, source) == []


# --- the contract


def lonely(contract: str, rooms: Mapping[str, list[str]]) -> list[str]:
    """Booleans of a contract file that one room alone sets: questions after that one in disguise."""
    found = []
    for name in sorted(_booleans(ast.parse(contract))):
        setting = [room for room, parts in rooms.items() if any(name in _set_by(ast.parse(part)) for part in parts)]
        found += [f"{name} is set by {setting[0]} alone"] if len(setting) == 1 else []
    return found


def _booleans(tree: ast.Module) -> set[str]:
    """Attributes, properties and methods without arguments that are bool, of all classes."""
    found = set()
    for node in (part for cls in ast.walk(tree) if isinstance(cls, ast.ClassDef) for part in cls.body):
        if isinstance(node, ast.AnnAssign) and re.search(r"\bbool\b", ast.unparse(node.annotation)):
            found.add(_last(node.target))
        if isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) == "bool":
            found |= {node.name} if len(node.args.args) < 2 else set()
    return found


def _set_by(tree: ast.Module) -> set[str]:
    """What the classes of a file set or define, in their bodies or on self."""
    found = set()
    for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        found |= {part.name for part in cls.body if isinstance(part, ast.FunctionDef)}
        found |= {_last(part) for part in ast.walk(cls) if isinstance(getattr(part, "ctx", None), ast.Store)}
    return found


def test_no_boolean_of_the_contract_is_one_codecs_own() -> None:
    found = sources()
    rooms = room_sources(found)
    assert [f"{name}: {line}" for name in CONTRACT for line in lonely(found[f"models/{name}.py"], rooms)] == []


FLAG = "class Networks:\n    stretched: ClassVar[bool] = False"


@pytest.mark.parametrize(
    ("contract", "one", "other", "found"),
    [
        (FLAG, "class A:\n    stretched = True", "", 1),
        (FLAG, "class A:\n    coders, stretched = ('range',), True", "", 1),
        (FLAG, "class A:\n    stretched: ClassVar[bool] = True", "", 1),
        (FLAG, "class A:\n    def __init__(self):\n        self.stretched = True", "", 1),
        ("class C:\n    @property\n    def tiled(self) -> bool: ...", "class A:\n    def tiled(self): ...", "", 1),
        ("class C:\n    def tiled(self) -> bool: ...", "class A:\n    def tiled(self): ...", "", 1),
        (FLAG, "class A:\n    stretched = True", "class B:\n    stretched = False", 0),
        (FLAG, "class A:\n    other = True", "", 0),
        ("class C:\n    def fits(self, name: str) -> bool: ...", "class A:\n    def fits(self, name): ...", "", 0),
        ("class C:\n    why: str | None = None", "class A:\n    why = 'not yet'", "", 0),
    ],
)
def test_a_lonely_boolean_is_found(contract: str, one: str, other: str, found: int) -> None:
    assert len(lonely(contract, {"gic1": [one], "wu2019": [other]})) == found


# --- size


def long_functions(path: str, source: str) -> list[str]:
    """Functions of more lines than MOST_FUNCTION; commands are as long as their options are many."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > MOST_FUNCTION and not (path.startswith("cli/") and _is_command(node)):
                found.append(f"{path}: {node.name} has {length} lines")
    return found


def _is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Has it parameters that Typer reads?"""
    kinds = [ast.unparse(argument.annotation) for argument in node.args.args if argument.annotation]
    return any(re.match(r"Annotated\[|options\.\w|typer\.", kind) for kind in kinds)


def test_files_and_functions_are_short() -> None:
    found = sources()
    assert [path for path, source in found.items() if source.count("\n") > MOST_FILE] == []
    assert [line for path, source in found.items() for line in long_functions(path, source)] == []


def test_the_product_is_no_larger_than_before() -> None:
    assert sum(source.count("\n") for source in sources().values()) <= MOST_PRODUCT


@pytest.mark.parametrize(
    ("path", "head", "lines", "found"),
    [
        ("codec/api.py", "def f(options: EncodeOptions):", MOST_FUNCTION, 1),
        ("codec/api.py", "async def f():", MOST_FUNCTION, 1),
        ("codec/api.py", "class A:\n  def f(self):", MOST_FUNCTION, 1),
        ("codec/api.py", "def f(bpp: options.Bpp):", MOST_FUNCTION, 1),
        ("cli/files.py", "def f(options: EncodeOptions):", MOST_FUNCTION, 1),
        ("codec/api.py", "def f():", MOST_FUNCTION - 1, 0),
        ("cli/encode.py", "def encode(bpp: options.Bpp = None):", MOST_FUNCTION, 0),
        ("cli/encode.py", "def encode(inputs: Annotated[str, typer.Argument()]):", MOST_FUNCTION, 0),
    ],
)
def test_a_long_function_is_found(path: str, head: str, lines: int, found: int) -> None:
    assert len(long_functions(path, head + "\n    pass" * lines + "\n")) == found
