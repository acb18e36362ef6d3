"""Recipes: what a YAML file asks for, checked, and with every default filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, PrivateAttr, ValidationError

from onnx_pare.calibration.preprocess import PRESETS, Preprocessing
from onnx_pare.documents.document import RECIPE, Document, show
from onnx_pare.documents.explain import explain
from onnx_pare.documents.scalars import PATTERNS
from onnx_pare.documents.section import Section, validate
from onnx_pare.documents.suggest import suggest
from onnx_pare.documents.yaml12 import read, read_file
from onnx_pare.errors import RecipeError
from onnx_pare.pipeline import shipped
from onnx_pare.pipeline.conditions import Gate, read_gate
from onnx_pare.pipeline.layout import known_keys, without_pass_names
from onnx_pare.pipeline.overrides import apply, from_flags, parse_set
from onnx_pare.pipeline.sections import (
    VERSION,
    Benchmark,
    Calibration,
    Evaluation,
    Gates,
    Passes,
    Preprocess,
    Version,
)
from onnx_pare.remote.urls import is_url, local


class Recipe(Section):
    """What to do with a model. Two recipes are equal if they ask for the same, wherever they were read from.

    Attributes:
        name: The file's name without its ending; part of the default output name.
        origin: Where it was read from: a path, or `shipped recipe int8`.
        folder: Where its relative paths start; the current folder for a shipped recipe.
    """

    version: Version = Field(description=f"The version of this format: {VERSION}.")
    preprocess: Preprocess = Field(
        default=None,
        description="How raw images become inputs, for calibration and evaluation alike:"
        " a preset, or a mapping.",
    )
    calibration: Calibration = Calibration()
    evaluation: Evaluation | None = None
    passes: Passes = Field(min_length=1, description="What is done to the model, in this order.")
    benchmark: Benchmark = Benchmark()
    gates: Gates = Field(
        default=(), description="Conditions such as speedup>=1.5; if one is not met, the exit code is 1."
    )

    _name: str = PrivateAttr("recipe")
    _origin: str = PrivateAttr("")
    _folder: Path = PrivateAttr(Path())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.resolved() == other.resolved()

    def __hash__(self) -> int:
        return hash(str(self.resolved()))

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self._name

    @property
    def origin(self) -> str:
        """Where the recipe was read from."""
        return self._origin

    @property
    def folder(self) -> Path:
        """Where relative paths start."""
        return self._folder

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The preprocessing itself, if any is given."""
        return PRESETS[self.preprocess] if isinstance(self.preprocess, str) else self.preprocess

    @property
    def calibration_path(self) -> Path | None:
        """Where calibration data lies; None: synthetic input."""
        return self._folder / local(self.calibration.data) if self.calibration.data else None

    @property
    def evaluation_path(self) -> Path | None:
        """Where labelled data lies, if any is given."""
        return self._folder / local(self.evaluation.data) if self.evaluation else None

    @property
    def conditions(self) -> tuple[Gate, ...]:
        """The gates, read."""
        return tuple(read_gate(gate) for gate in self.gates)

    @property
    def remote_data(self) -> dict[Path, str]:
        """The URLs that name its data, by what stands for them in `calibration_path`, `evaluation_path`."""
        named = {self.calibration_path: self.calibration.data}
        if self.evaluation is not None:
            named[self.evaluation_path] = self.evaluation.data
        return {path: data for path, data in named.items() if path and data and is_url(data)}

    def on_local_data(self, fetched: Callable[[str], Path]) -> Recipe:
        """Return the recipe with local paths in place of the URLs that name its data.

        Args:
            fetched: Returns the local copy of what a URL names.
        """
        sections = {"calibration": self.calibration, "evaluation": self.evaluation}
        copies = {
            key: section.model_copy(update={"data": str(fetched(section.data))})
            for key, section in sections.items()
            if section is not None and section.data is not None and is_url(section.data)
        }
        return self.model_copy(update=copies)

    def resolved(self) -> dict[str, Any]:
        """Return the recipe as JSON values, all defaults filled in; paths as they were given."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Return `resolved()` as YAML that loads to an equal recipe (from the same folder)."""
        return yaml.dump(
            self.resolved(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None
        )


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would take for something else."""


for _tag, _pattern in PATTERNS.items():
    _Dumper.add_implicit_resolver(_tag, _pattern, None)


def load_recipe(
    name_or_path: str, overrides: Sequence[str] = (), flags: Mapping[str, Any] | None = None
) -> Recipe:
    """Load a recipe: a file if there is one, else the shipped recipe of that name (`int8` or `int8.yaml`).

    Args:
        name_or_path: The file or name.
        overrides: `KEY=VALUE` of each `--set`.
        flags: Values of the flags in `overrides.FLAGS`, by flag; None and empty lists are not given. Relative
            paths in them start from the current folder.

    Raises:
        RecipeError: There is no such recipe, or it is wrong; each problem has a line of its own.
    """
    file = read_file(name_or_path, RECIPE)
    stem = shipped.find(name_or_path)
    if file is not None:
        path = Path(name_or_path)
        document, identity = file, (path.stem, name_or_path, path.parent)
    elif stem is not None:
        document = read(shipped.text(stem).encode(), f"{stem}.yaml")
        identity = (stem, f"shipped recipe {stem}", Path())
    else:
        raise _unknown(name_or_path)
    document = apply(document, [parse_set(text) for text in overrides])
    document = apply(document, list(from_flags(flags or {}, document.data, identity[2])))
    recipe = build(document)
    recipe._name, recipe._origin, recipe._folder = identity
    return recipe


def load_shipped(name: str) -> Recipe:
    """Load the shipped recipe `name`, a member of `shipped.names()`, whatever files lie around."""
    return build(read(shipped.text(name).encode(), f"{name}.yaml"))


def build(document: Document) -> Recipe:
    """Validate a document; a section with nothing in it is one left out.

    Raises:
        RecipeError: It is no recipe; each problem has a line of its own.
    """
    given = {key: value for key, value in document.data.items() if value is not None}
    try:
        return validate(Recipe, given)
    except ValidationError as error:
        flat = without_pass_names(document)
        lines = explain(error, flat, lambda path: known_keys(Recipe, path, document.data))
    raise RecipeError("\n".join(lines))


def _unknown(name: str) -> RecipeError:
    near = suggest(name.removesuffix(shipped.SUFFIX), shipped.names())
    return RecipeError(
        f"{show(name)}: no such recipe{near if near.startswith(',') else ''}",
        hint=f"Give the path of a YAML file, or a shipped recipe: {', '.join(shipped.names())}.",
    )
