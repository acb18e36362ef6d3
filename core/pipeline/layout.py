"""Where things stand in a recipe: paths as messages give them, and the keys known at each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from onnx_pare.calibration.preprocess import Preprocessing
from onnx_pare.documents import section
from onnx_pare.documents.document import Document, Keys
from onnx_pare.passes import base
from onnx_pare.pipeline.sections import pass_name


def without_pass_names(document: Document) -> Document:
    """Return the document with each entry of `passes` replaced by its options: `passes[2].ratio`."""
    passes = document.data.get("passes")
    if not isinstance(passes, list):
        return document
    bare = [
        entry[next(iter(entry))] or {} if isinstance(entry, dict) and len(entry) == 1 else {}
        for entry in passes
    ]

    def short(path: Keys) -> Keys:
        return path[:2] + path[3:] if path[0:1] == ("passes",) and len(path) > 3 else path

    return replace(
        document,
        data={**document.data, "passes": bare},
        keys={short(path): place for path, place in document.keys.items()},
        values={short(path): place for path, place in document.values.items()},
    )


def known_keys(recipe: type[BaseModel], path: Keys, data: Mapping[str, Any]) -> Sequence[str]:
    """Return the keys allowed in the mapping at `path`.

    Args:
        recipe: The class of recipes.
        path: A path without the names of passes, into a document that has no such key.
        data: The recipe as it was written, names of passes included.
    """
    model: type[BaseModel] | None = recipe
    if path[:1] == ("passes",):
        name = pass_name(data["passes"][path[1]])
        model, path = base.registry()[str(name)].Options, path[2:]
    elif path[:1] == ("preprocess",):
        model, path = Preprocessing, path[1:]
    return section.known_keys(model, path)
