"""The JSON Schema of recipes, for editors; made from the code."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from onnx_pare.calibration.preprocess import PRESETS, Preprocessing
from onnx_pare.passes import base
from onnx_pare.pipeline.conditions import BOUND_PATTERN
from onnx_pare.pipeline.metrics import METRICS, PER_PROFILE
from onnx_pare.pipeline.recipe import Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# what a section with nothing in it is read as: left out
_OPTIONAL = ("calibration", "benchmark", "gates")


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema that every recipe follows (it cannot see duplicate keys)."""
    schema = Recipe.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    keys = schema["properties"]
    keys["passes"]["items"] = {"anyOf": _passes(definitions)}
    keys["preprocess"].update(_preprocess(definitions))
    keys["gates"]["items"] = {"type": "string", "pattern": _gate_pattern()}
    for name in _OPTIONAL:
        keys[name] = _or_nothing(keys[name])
    return {
        "$schema": DIALECT,
        "title": "onnx-pare recipe",
        **{k: v for k, v in schema.items() if k != "title"},
    }


def _passes(definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an entry of `passes` may be: a name, or a mapping from one name to its options."""
    bare, choices = [], []
    for name, cls in base.registry().items():
        options = _hoisted(cls.Options, name, definitions)
        if _has_defaults(cls.Options):
            bare.append(name)
            options = _or_nothing(options)
        entry = {"type": "object", "properties": {name: options}, "required": [name]}
        choices.append({**entry, "additionalProperties": False, "description": base.summary(cls)})
    return [{"enum": bare}, *choices]


def _preprocess(definitions: dict[str, Any]) -> dict[str, Any]:
    mapping = _hoisted(Preprocessing, "preprocess", definitions)
    return {"anyOf": [{"enum": list(PRESETS)}, mapping, {"type": "null"}]}


def _hoisted(model: type[BaseModel], name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Put a model's schema, and those it refers to, among the definitions; return a reference to it."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    for inner, definition in schema.pop("$defs", {}).items():
        definitions[f"{name}.{inner}"] = definition
    definitions[name] = {**schema, "title": name}
    return {"$ref": f"#/$defs/{name}"}


def _has_defaults(options: type[BaseModel]) -> bool:
    try:
        options()
    except ValidationError:
        return False
    return True


def _or_nothing(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _gate_pattern() -> str:
    profile = r"(\s*\[[^\[\]]+\])?"
    plain = "|".join(metric for metric in METRICS if metric not in PER_PROFILE)
    named = "|".join(metric for metric in METRICS if metric in PER_PROFILE)
    return rf"^\s*(({plain})|({named}){profile})\s*(>=|<=|==|>|<)\s*{BOUND_PATTERN}\s*$"
