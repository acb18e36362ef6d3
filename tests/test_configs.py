"""The recipes that come with onnx-pare."""

from __future__ import annotations

import pytest

from onnx_pare.pipeline import shipped
from onnx_pare.pipeline.recipe import Recipe, load_recipe, load_shipped


def test_the_names() -> None:
    assert shipped.names() == (
        "fp16",
        "int8",
        "int8-dynamic",
        "prune50",
        "simplify",
        "sparsity-report",
        "weights4",
    )


@pytest.mark.parametrize("name", shipped.names())
def test_each_loads_and_is_free_of_surprises(name: str) -> None:
    recipe = load_shipped(name)
    assert isinstance(recipe, Recipe)
    assert recipe == load_recipe(name)
    assert recipe.benchmark.profiles == ("local",)
    assert recipe.gates == ()
    assert recipe.calibration_path is None
    assert recipe.evaluation_path is None


@pytest.mark.parametrize("name", shipped.names())
def test_each_says_in_its_first_line_what_it_is_for(name: str) -> None:
    assert shipped.text(name).startswith("# ")
    assert 20 < len(shipped.purpose(name)) < 95
    assert shipped.purpose(name).endswith(".")


def test_finding_by_either_name() -> None:
    assert shipped.find("int8") == shipped.find("int8.yaml") == "int8"
    assert shipped.find("int9") is None
