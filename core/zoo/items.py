"""What a batch has to do: models, each with its recipe, and where its result goes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.errors import PareError, RecipeError, UsageError
from onnx_pare.remote import urls
from onnx_pare.zoo.manifest import Entry, check_matches, load_manifest, mentions, settings
from onnx_pare.zoo.model_urls import Found
from onnx_pare.zoo.models import mirrored

if TYPE_CHECKING:
    from onnx_pare.pipeline.recipe import Recipe


@dataclass(frozen=True)
class Order:
    """What is done with some models.

    Attributes:
        recipe: The recipe; None where they are left out.
        shapes: Sizes of free dimensions, by input name.
        skip: Why they are left out; empty: they are not.
    """

    recipe: Recipe | None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    skip: str = ""


@dataclass(frozen=True)
class Item:
    """One model of a batch.

    Attributes:
        name: Its path below the folder that all models share, with `/`.
        model: Path or URL of the ONNX file.
        order: What is done with it.
        version: What the store of a URL says of the file's version; empty if that cannot be relied on.
    """

    name: str
    model: str
    order: Order
    version: str = ""


@dataclass(frozen=True)
class Given:
    """What the command line gives for all models.

    Attributes:
        config: The recipe; empty where the manifest names it.
        overrides: `KEY=VALUE` of each `--set`.
        flags: Values of the flags in `overrides.FLAGS`, by flag; they go over those of the manifest.
        shapes: Sizes of free dimensions, by input name.
    """

    config: str = ""
    overrides: Sequence[str] = ()
    flags: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)


def find_items(arguments: Sequence[str], output: str, given: Given, manifest: str = "") -> list[Item]:
    """Return what there is to do, every recipe read and checked.

    Args:
        arguments: Files, folders, globs and their URLs; none: those below the manifest's folder that it is
            about.
        output: The output folder; models in it are results.
        given: What the command line gives.
        manifest: Path of a manifest; empty: none.

    Raises:
        InputError: An argument names nothing, no model is left, or the manifest or a recipe is wrong.
    """
    if not manifest:
        models = _models(arguments, output)
        order = Order(_recipe(given.config, given, Entry(match="*")), given.shapes)
        return [Item(one.name, one.location, order, one.version) for one in models.values()]
    known, document = load_manifest(manifest)
    models = _models(arguments or [str(Path(manifest).parent)], output)
    check_matches(known, document, list(models))
    orders = _Orders(given)
    return [
        Item(one.name, one.location, orders.of(settings(known, one.name)), one.version)
        for one in models.values()
        if arguments or mentions(known, one.name)
    ]


def recipes(items: Sequence[Item]) -> list[Recipe]:
    """Return the recipes of these models, each once."""
    return list({id(r): r for item in items if (r := item.order.recipe) is not None}.values())


def _models(arguments: Sequence[str], output: str) -> dict[str, Found]:
    models = {found.name: found for found in mirrored(arguments, output)}
    if not models:
        raise UsageError(
            urls.shown(f"{' '.join(arguments)}: all models lie in the output folder {output}"),
            hint="Choose an output folder elsewhere.",
        )
    return models


class _Orders:
    """Makes orders from settings, each kind once."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._made: dict[str, Order] = {}

    def of(self, entry: Entry) -> Order:
        said = json.dumps(entry.model_dump(exclude={"match"}), sort_keys=True)
        if said not in self._made:
            self._made[said] = self._make(entry)
        return self._made[said]

    def _make(self, entry: Entry) -> Order:
        shapes = {**entry.shapes, **self._given.shapes}
        if entry.skip:
            return Order(None, shapes, entry.skip)
        try:
            return Order(_recipe(entry.recipe or self._given.config, self._given, entry), shapes)
        except PareError as error:
            error.message = f"{entry.match}: {error.message}"
            raise


def _recipe(config: str, given: Given, entry: Entry) -> Recipe:
    from onnx_pare.pipeline.recipe import load_recipe

    if not config:
        raise RecipeError(
            "no recipe given", hint="Add --config RECIPE, or `recipe:` to an entry of the manifest."
        )
    from_manifest = {
        "--calibration": entry.calibration,
        "--eval": entry.evaluation,
        "--preprocess": entry.preprocess,
    }
    said = {flag: value for flag, value in from_manifest.items() if value is not None}
    flags = {**given.flags, **{flag: value for flag, value in said.items() if not given.flags.get(flag)}}
    values = [f"{key}={json.dumps(value)}" for key, value in entry.set.items()]
    return load_recipe(config, [*values, *given.overrides], flags)
