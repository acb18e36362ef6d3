from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.errors import PareError, RecipeError, UsageError
from onnx_pare.zoo.items import Given, find_items


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    for name in ("a.onnx", "b.onnx", "deep/c.onnx"):
        path = tmp_path / "zoo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "zoo"


def manifest(zoo: Path, *entries: str) -> str:
    path = zoo / "zoo.yaml"
    path.write_text(
        "version: 1\nmodels:\n" + "".join(f"  - {entry}\n" for entry in entries), encoding="utf-8"
    )
    return str(path)


def test_one_recipe_for_all(zoo: Path) -> None:
    items = find_items([str(zoo)], str(zoo / "out"), Given("int8", ["benchmark.runs=3"], {}, {"x": (1, 2)}))
    assert [item.name for item in items] == ["a.onnx", "b.onnx", "deep/c.onnx"]
    assert len({id(item.order) for item in items}) == 1
    order = items[0].order
    assert order.recipe is not None
    assert (order.recipe.name, order.recipe.benchmark.runs, order.shapes) == ("int8", 3, {"x": (1, 2)})


def test_a_manifest_says_what_each_needs(zoo: Path) -> None:
    given = Given("fp16", ["benchmark.runs=9"], {"--preprocess": None}, {})
    entries = (
        '{match: "*.onnx", preprocess: unit}',
        "{match: b.onnx, recipe: int8, set: {benchmark.runs: 3, calibration.samples: 7}}",
        '{match: "deep/*", skip: not now}',
    )
    a, b, c = find_items([str(zoo)], str(zoo / "out"), given, manifest(zoo, *entries))
    assert a.order.recipe is not None
    assert b.order.recipe is not None
    assert (a.order.recipe.name, a.order.recipe.preprocess) == ("fp16", "unit")
    assert (b.order.recipe.name, b.order.recipe.preprocess) == ("int8", "unit")
    assert (b.order.recipe.benchmark.runs, b.order.recipe.calibration.samples) == (9, 7)
    assert (c.order.recipe, c.order.skip) == (None, "not now")


def test_flags_go_over_the_manifest(zoo: Path) -> None:
    given = Given("fp16", (), {"--preprocess": "raw"}, {"x": (4,)})
    path = manifest(zoo, '{match: "*", preprocess: unit, shapes: {x: [2], y: [3]}}')
    item, *_ = find_items([str(zoo)], str(zoo / "out"), given, path)
    assert item.order.recipe is not None
    assert (item.order.recipe.preprocess, item.order.shapes) == ("raw", {"x": (4,), "y": (3,)})


def test_without_arguments_it_is_the_models_of_the_manifest(zoo: Path) -> None:
    path = manifest(zoo, "{match: b.onnx, recipe: fp16}")
    assert [item.name for item in find_items([], str(zoo / "out"), Given(), path)] == ["b.onnx"]


def test_a_model_without_a_recipe_is_an_error(zoo: Path) -> None:
    path = manifest(zoo, "{match: b.onnx, recipe: fp16}")
    with pytest.raises(RecipeError, match=r"a\.onnx: no recipe given"):
        find_items([str(zoo)], str(zoo / "out"), Given(), path)
    with pytest.raises(RecipeError, match="no recipe given"):
        find_items([str(zoo)], str(zoo / "out"), Given())


def test_a_wrong_recipe_names_the_model(zoo: Path) -> None:
    path = manifest(zoo, '{match: "*", recipe: fp16}', "{match: b.onnx, recipe: fp61}")
    with pytest.raises(PareError, match=r"b\.onnx: 'fp61': no such recipe, did you mean 'fp16'"):
        find_items([str(zoo)], str(zoo / "out"), Given(), path)


def test_nothing_but_results_is_an_error(zoo: Path) -> None:
    with pytest.raises(UsageError, match="all models lie in the output folder"):
        find_items([str(zoo)], str(zoo), Given("fp16"))
