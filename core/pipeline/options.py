"""What a pass's options are, in words: type, range, default, description; read off the pass's own class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx_pare.passes.base import PassOptions

_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "object": "mapping",
    "null": "nothing",
}
_LIMITS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
}


@dataclass(frozen=True)
class Option:
    """One key a pass takes.

    Attributes:
        name: The key.
        type: What its value is.
        required: Whether it must be given.
        default: Its value if it is not given, as JSON.
        range: The numbers it may be (`from 0, below 1`); empty if any.
        description: What it does.
    """

    name: str
    type: str
    required: bool
    default: Any
    range: str
    description: str


def options_of(options: type[PassOptions]) -> list[Option]:
    """Return the options of a pass, in the order they are declared."""
    schema = options.model_json_schema()
    definitions = schema.get("$defs", {})
    required = schema.get("required", [])
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in options.model_fields.items()
        if not field.is_required()
    }
    written = options.model_construct(**defaults).model_dump(mode="json")
    return [
        Option(
            name=name,
            type=_type(_resolve(entry, definitions), definitions),
            required=name in required,
            default=None if name in required else written[name],
            range=_range(_resolve(entry, definitions), definitions),
            description=entry.get("description", ""),
        )
        for name, entry in schema.get("properties", {}).items()
    ]


def _resolve(entry: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = entry.get("$ref")
    return definitions[reference.rpartition("/")[2]] if reference else entry


def _branches(entry: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [_resolve(branch, definitions) for branch in entry.get("anyOf", [])]


def _type(entry: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    branches = _branches(entry, definitions)
    if branches:
        return " or ".join(dict.fromkeys(_type(branch, definitions) for branch in branches))
    if "enum" in entry:
        return " | ".join(str(choice) for choice in entry["enum"])
    if "const" in entry:
        return str(entry["const"])
    if entry.get("type") != "array":
        return _TYPES.get(entry.get("type", ""), "any value")
    if "prefixItems" in entry:
        parts = [_type(_resolve(item, definitions), definitions) for item in entry["prefixItems"]]
        return f"[{', '.join(parts)}]"
    return f"list of {_type(_resolve(entry.get('items', {}), definitions), definitions)}"


def _range(entry: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    branches = _branches(entry, definitions)
    if branches:
        return " or ".join(filter(None, (_range(branch, definitions) for branch in branches)))
    return ", ".join(text.format(f"{entry[key]:g}") for key, text in _LIMITS.items() if key in entry)
