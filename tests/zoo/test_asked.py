from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onnx_pare.pipeline.recipe import Recipe, load_recipe
from onnx_pare.zoo.asked import Tasks
from onnx_pare.zoo.batch import Batch
from onnx_pare.zoo.folder import OutputFolder
from onnx_pare.zoo.items import Item, Order


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    (tmp_path / "out" / ".onnx-pare" / "in-flight").mkdir(parents=True)
    return OutputFolder(tmp_path / "out", tmp_path)


def test_a_local_task(folder: OutputFolder, recipe: Recipe) -> None:
    task = Tasks(Batch([], seed=3), folder).task(Item("deep/a.onnx", "in/deep/a.onnx", Order(recipe)), "key")
    assert (task.job.model, task.job.target) == (Path("in/deep/a.onnx"), folder.path / "deep" / "a.onnx")
    assert task.report == folder.path / "deep" / "a.onnx.report.json"
    assert (task.recorded, task.job.seed, task.elsewhere) == ("key", 3, None)


def test_names_of_what_lies_elsewhere(folder: OutputFolder, recipe: Recipe) -> None:
    item = Item("a.onnx", "s3://bucket/a.onnx", Order(recipe))
    elsewhere = Tasks(Batch([]), folder).task(item, "").elsewhere
    assert elsewhere is not None
    assert (elsewhere.model, elsewhere.output) == ("s3://bucket/a.onnx", f"{folder.path}/a.onnx")


def test_data_elsewhere_alone_is_enough(folder: OutputFolder, recipe_file: Path, memory: Any) -> None:
    memory.pipe("/x.npz", b"1")
    recipe = load_recipe(str(recipe_file), flags={"--calibration": "memory://x.npz"})
    assert Tasks(Batch([]), folder).task(Item("a.onnx", "a.onnx", Order(recipe)), "").elsewhere is not None


def test_what_decides_of_a_model_that_is_not_fetched(
    folder: OutputFolder, recipe_file: Path, memory: Any
) -> None:
    def origin(version: str = "1", seed: int = 0, *overrides: str) -> str:
        flags = {"--calibration": "memory://x.npz"}
        item = Item(
            "a.onnx", "memory://a.onnx", Order(load_recipe(str(recipe_file), overrides, flags)), version
        )
        return Tasks(Batch([], seed=seed), folder).origin(item)

    memory.pipe("/x.npz", b"1")
    first = origin()
    assert first
    assert origin() == first
    others = [origin("2"), origin("1", 1), origin("1", 0, "calibration.samples=3")]
    memory.pipe("/x.npz", b"2")
    others.append(origin())
    assert len({first, *others}) == 5
    assert origin("") == ""
    memory.rm("/x.npz")
    assert origin() == ""
