"""All recipes by name, as the models' folders have them."""

from __future__ import annotations

from gancodec.models.recipe import Recipe
from gancodec.models.registry import CODECS, at

RECIPES: dict[str, Recipe] = {
    name: recipe for entry in CODECS.values() if entry.recipes for name, recipe in at(entry.recipes).items()
}
