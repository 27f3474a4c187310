"""The one list that knows all codecs and models. Without torch and numpy; what needs them is named and imported when
it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

from gancodec.container import spec
from gancodec.errors import MissingWeights
from gancodec.models.config import Config
from gancodec.models.gic1 import config as gic1
from gancodec.models.gic2 import config as gic2
from gancodec.models.split import config as split
from gancodec.models.wu2019 import config as wu2019
from gancodec.options import EncodeOptions

Kind = TypeVar("Kind")


class Entry(NamedTuple):
    """A codec of the format: name, as `info` tells it, and where its class (`models.codec.Codec`), its networks on a
    device (`models.inference.Network`) and its recipes by name (`models.recipe.Recipe`) are. Its header's rules are a
    row of `container.spec.CODECS`."""

    name: str
    codec: str
    network: str = ""
    recipes: str = ""


class Profile(NamedTuple):
    """A choice of ``--profile``.

    help : what it does; codec : that encodes, None for that of the model; own : options that no other profile has,
    with their choices; most_side : pixels; completed : the options with defaults filled in, UsageError for
    what does not fit.
    """

    help: str
    codec: int | None = None
    own: Mapping[str, tuple[object, ...]] = {}
    most_side: int = spec.MAX_SIDE
    completed: Callable[[EncodeOptions], EncodeOptions] | None = None


CODECS: dict[int, Entry] = {
    spec.CODEC_GIC1: Entry(
        "gic1",
        "gancodec.models.gic1.codec:TunableCodec",
        "gancodec.models.gic1.inference:TunableNetwork",
        "gancodec.models.gic1.recipes:RECIPES",
    ),
    spec.CODEC_SPLIT: Entry("split", "gancodec.models.split.codec:SplitCodec"),
    spec.CODEC_WU2019: Entry(
        "wu2019",
        "gancodec.models.wu2019.codec:Wu2019Codec",
        "gancodec.models.wu2019.inference:Wu2019Network",
        "gancodec.models.wu2019.recipes:RECIPES",
    ),
    spec.CODEC_GIC2: Entry(
        "gic2",
        "gancodec.models.gic2.codec:Gic2Codec",
        "gancodec.models.gic2.inference:Gic2Network",
        "gancodec.models.gic2.recipes:RECIPES",
    ),
}

MODELS: dict[str, Config] = {config.name: config for config in (*gic1.MODELS, *wu2019.MODELS, *gic2.MODELS)}

PROFILES: dict[str, Profile] = {
    "tunable": Profile("the learned codec"),
    "split": Profile(
        "salient pixels kept, the rest shrunk",
        spec.CODEC_SPLIT,
        {"inner": tuple(split.CODERS), "factor": spec.FACTORS},
        split.MOST_SIDE,
        split.completed,
    ),
}


def config_of(model: str) -> Config:
    """Configuration of a model; MissingWeights where this build knows no architecture for it."""
    config = MODELS.get(model)
    if config is None:
        raise MissingWeights(f"model {model}: weights are here, but this build does not know the architecture")
    return config


def config_as(model: str, kind: type[Kind]) -> Kind:
    """`config_of`, which must be one of `kind`; TypeError otherwise."""
    config = config_of(model)
    if not isinstance(config, kind):
        raise TypeError(f"model {model} has no {kind.__name__}")
    return config


def at(place: str) -> Any:
    """What stands at "module:name"."""
    module, name = place.split(":")
    return getattr(import_module(module), name)


def resolve(place: str, kind: type[Kind]) -> type[Kind]:
    """The class at "module:name"; TypeError unless it is one of `kind`."""
    found = at(place)
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise TypeError(f"{place} is no {kind.__name__}")
    return found
