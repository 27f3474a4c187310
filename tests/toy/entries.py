"""The four tables that know a learned codec, and what the toy adds to each."""

from __future__ import annotations

from typing import Any

from gancodec.container import spec
from gancodec.models import registry
from gancodec.train import recipes
from tests.toy.config import CODEC_TOY, RULES, TOY_TINY
from tests.toy.recipes import RECIPES

ENTRY = registry.Entry("toy", "tests.toy.codec:ToyCodec", "tests.toy.inference:ToyNetwork", "tests.toy.recipes:RECIPES")
ENTRIES: tuple[tuple[dict[Any, Any], Any, Any], ...] = (
    (spec.CODECS, CODEC_TOY, RULES),
    (registry.CODECS, CODEC_TOY, ENTRY),
    (registry.MODELS, TOY_TINY.name, TOY_TINY),
    (recipes.RECIPES, TOY_TINY.name, RECIPES[TOY_TINY.name]),
)
