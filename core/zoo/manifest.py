"""The manifest of a batch: a YAML file that says what each model, or each model of a pattern, needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from onnx_pare.documents.document import MANIFEST, Document, show
from onnx_pare.documents.explain import explain
from onnx_pare.documents.section import Section, Text, known_keys, validate
from onnx_pare.documents.yaml12 import read_file
from onnx_pare.errors import ManifestError
from onnx_pare.remote.urls import is_url, local


class Entry(Section):
    """What some models need. All entries that match a model apply, later ones over earlier ones."""

    match: Text = Field(
        description="A model's name in the batch, or a pattern: * is anything, also /, ? one character."
    )
    recipe: Text | None = Field(
        default=None, description="A YAML file, relative to the manifest, or a shipped recipe."
    )
    calibration: Text | None = Field(default=None, description="Calibration data, relative to the manifest.")
    evaluation: Text | None = Field(default=None, description="Labelled data, relative to the manifest.")
    preprocess: Text | None = Field(default=None, description="A preprocessing preset.")
    shapes: dict[str, tuple[Annotated[int, Field(ge=1)], ...]] = Field(
        default={}, description="Shapes of inputs with free dimensions: {input: [1, 3, 224, 224]}."
    )
    set: dict[str, Any] = Field(
        default={}, description="Values of the recipe: {passes.quantize_int8.percentile: 99.99}."
    )
    skip: Text | None = Field(default=None, description="Why these models are left out.")


class Manifest(Section):
    """What the models of a batch need."""

    version: Literal[1]
    models: tuple[Entry, ...] = Field(min_length=1)


def load_manifest(name: str) -> tuple[Manifest, Document]:
    """Read a manifest; relative paths in it become paths from the current folder.

    Raises:
        ManifestError: It is missing or wrong; each problem has a line of its own.
    """
    document = read_file(name, MANIFEST)
    if document is None:
        raise ManifestError(f"{name}: no such file", hint="Give the path of a YAML file; see docs/zoo.md.")
    try:
        manifest = validate(Manifest, document.data)
    except ValidationError as error:
        lines = explain(error, document, lambda path: known_keys(Manifest, path))
    else:
        folder = Path(name).parent
        entries = tuple(_from(folder, entry) for entry in manifest.models)
        return manifest.model_copy(update={"models": entries}), document
    raise ManifestError("\n".join(lines))


def settings(manifest: Manifest, model: str) -> Entry:
    """Return what the manifest says about a model, all matching entries put together."""
    matching = [entry for entry in manifest.models if fnmatchcase(model, entry.match)]
    merged: dict[str, Any] = {"match": model}
    for entry in matching:
        given = entry.model_dump(exclude_unset=True, exclude={"match"})
        for key in ("shapes", "set"):
            if key in given:
                given[key] = {**merged.get(key, {}), **given[key]}
        merged.update(given)
    return Entry.model_construct(**merged)


def mentions(manifest: Manifest, model: str) -> bool:
    """Return whether any entry is about a model."""
    return any(fnmatchcase(model, entry.match) for entry in manifest.models)


def check_matches(manifest: Manifest, document: Document, models: Sequence[str]) -> None:
    """Find out whether every entry is about some model.

    Raises:
        ManifestError: One is not.
    """
    lines = list(_unmatched(manifest, document, models))
    if lines:
        raise ManifestError("\n".join(lines), hint="Names are paths below the folder that is searched.")


def _unmatched(manifest: Manifest, document: Document, models: Sequence[str]) -> Iterator[str]:
    for number, entry in enumerate(manifest.models):
        if not any(fnmatchcase(model, entry.match) for model in models):
            place = document.place(("models", number, "match"))
            yield f"{place}: models[{number}].match: {show(entry.match)} matches no model"


def _from(folder: Path, entry: Entry) -> Entry:
    """Return the entry with paths from the current folder; a recipe may be a shipped one instead."""
    moved: Mapping[str, str] = {
        key: path if is_url(path) else str(folder / local(path))
        for key in ("calibration", "evaluation")
        if (path := getattr(entry, key)) is not None
    }
    if entry.recipe is not None and (folder / entry.recipe).exists():
        moved = {**moved, "recipe": str(folder / entry.recipe)}
    return entry.model_copy(update=dict(moved))
