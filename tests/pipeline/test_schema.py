"""Holds the schema against the loader, with as much of JSON Schema as the schema uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.documents.yaml12 import read
from onnx_pare.errors import RecipeError
from onnx_pare.pipeline import shipped
from onnx_pare.pipeline.recipe import build
from onnx_pare.pipeline.schema import recipe_schema

TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}  # fmt: skip


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    if "$ref" in schema and not fits(value, resolve(schema["$ref"], root), root):
        return False
    if not all(fits(value, part, root) for part in schema.get("allOf", [])):
        return False
    if "anyOf" in schema and not any(fits(value, branch, root) for branch in schema["anyOf"]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and (value != schema["const"] or isinstance(value, bool)):
        return False
    if "type" in schema:
        number = schema["type"] in ("integer", "number")
        if not isinstance(value, TYPES[schema["type"]]) or (number and isinstance(value, bool)):
            return False
    return all(check(value, schema, root) for check in (fits_object, fits_array, fits_limits))


def fits_object(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    known = schema.get("properties", {})
    if any(key not in value for key in schema.get("required", [])):
        return False
    if schema.get("additionalProperties", True) is False and set(value) - set(known):
        return False
    return all(fits(item, known[key], root) for key, item in value.items() if key in known)


def fits_array(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    if not isinstance(value, list):
        return True
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    prefix = schema.get("prefixItems", [])
    pairs = [
        *zip(value, prefix, strict=False),
        *((item, schema.get("items", {})) for item in value[len(prefix) :]),
    ]
    return all(fits(item, inner, root) for item, inner in pairs)


def fits_limits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    if isinstance(value, str):
        long_enough = len(value) >= schema.get("minLength", 0)
        return long_enough and bool(re.search(schema.get("pattern", ""), value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return (
        value >= schema.get("minimum", value)
        and value <= schema.get("maximum", value)
        and not value <= schema.get("exclusiveMinimum", value - 1)
        and not value >= schema.get("exclusiveMaximum", value + 1)
    )


def resolve(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    found = root["$defs"][reference.removeprefix("#/$defs/")]
    assert isinstance(found, dict)
    return found


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"]
        for part in schema.values():
            yield from references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from references(part)


def test_every_reference_leads_somewhere() -> None:
    schema = recipe_schema()
    used = set(references(schema))
    assert used == {f"#/$defs/{name}" for name in schema["$defs"]}


@pytest.mark.parametrize("name", shipped.names())
def test_shipped_recipes_conform(name: str) -> None:
    schema = recipe_schema()
    assert fits(read(shipped.text(name).encode(), name).data, schema, schema)


@pytest.mark.usefixtures("fake_passes")
@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("passes: [simplify]", True),
        ("passes: [simplify]\nversion: 2", False),
        ("passes: []", False),
        ("passes: [prune]", False),
        ("passes: [{prune: }]", False),
        ("passes: [{prune: {sparsity: 0.5}}]", True),
        ("passes: [{prune: {sparsity: 1}}]", False),
        ("passes: [{quantize_int8: }]", True),
        ("passes: [{quantize_int8: {skip: [a], bits: 4}}]", True),
        ("passes: [{quantize_int8: {skip: [1]}}]", False),
        ("passes: [{quantize_int8: {bit: 4}}]", False),
        ("passes: [{quantize_int8: {limit: }}]", True),
        ("passes: [{quantize_int8: {}, simplify: {}}]", False),
        ("passes: [unknown]", False),
        ("passes: [simplify]\nbenchmark: {runs: 3}", True),
        ("passes: [simplify]\nbenchmark:", True),
        ("passes: [simplify]\nbenchmark: {runs: true}", False),
        ("passes: [simplify]\ngates: ['speedup[pi]>=1', size_ratio<.5]", True),
        ("passes: [simplify]\ngates: ['size_ratio[pi]>=1']", False),
        ("passes: [simplify]\ngates: ['speedup[pi]>=0.9 * baseline', size_ratio<=baseline+.5]", True),
        ("passes: [simplify]\ngates: ['size_ratio<=baseline/2']", False),
        ("passes: [simplify]\ngates: [sped>=1]", False),
        ("passes: [simplify]\nevaluation: {}", False),
        ("passes: [simplify]\nevaluation: {data: x}", True),
        ("passes: [simplify]\npreprocess: {mean: [1, 2, 3], crop: 224}", True),
        ("passes: [simplify]\npreprocess: {mean: x}", False),
        ("passes: [simplify]\npreprocess: nothing", False),
        *((f"passes: [simplify]\npreprocess: {preset}", True) for preset in PRESETS),
    ],
)
def test_the_schema_and_the_loader_agree(text: str, good: bool) -> None:
    document = read((text if "version" in text else f"{text}\nversion: 1").encode(), "x.yaml")
    schema = recipe_schema()
    assert fits(document.data, schema, schema) is good
    try:
        build(document)
    except RecipeError:
        assert not good
    else:
        assert good
