"""What all files and their parts have in common: strict pydantic models, made from what YAML gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Model = TypeVar("Model", bound=BaseModel)
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """Base of all parts: unknown keys and other types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def validate(model: type[Model], raw: Mapping[str, Any]) -> Model:
    """Validate what YAML gave, by way of JSON: there a list is fine for a tuple, and text for an enum.

    Raises:
        pydantic.ValidationError: It does not fit.
    """
    return model.model_validate_json(json.dumps(raw))


def known_keys(model: type[BaseModel] | None, path: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the keys allowed in the mapping at `path` of a document that `model` describes."""
    for step in path:
        field = model.model_fields.get(str(step)) if model and isinstance(step, str) else None
        model = _model_in(field.annotation) if field else model
    return tuple(model.model_fields) if model else ()


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in a field's type, also inside `X | None`, `tuple[X, ...]` or `dict[str, X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in getattr(annotation, "__args__", ()))
    return next((model for model in found if model), None)
