"""Small models, a quick recipe, and tasks made of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir
import pytest

from onnx_pare.graph.save import write_model
from onnx_pare.pipeline.plan import Job
from onnx_pare.pipeline.recipe import Recipe, load_recipe
from onnx_pare.zoo.place import Place
from onnx_pare.zoo.task import Limits, Task

RECIPE = """version: 1
calibration: {samples: 2}
passes: [{quantize_fp16: {storage_only: true, min_elements: 1}}]
benchmark: {profiles: []}
"""
NET = """<ir_version: 8, opset_import: ["": 17]>
net (float[1,WIDTH] x) => (float[1,8] y) { h = MatMul(x, w) y = Relu(h) }"""


def save_net(path: Path, width: int = 16) -> Path:
    """Write a small network; another width is another model."""
    import numpy as np

    model = ir.from_onnx_text(
        NET.replace("WIDTH", str(width)).replace(" x) =>", f" x, float[{width},8] w) =>")
    )
    weight = model.graph.inputs.pop(1)
    values = np.random.default_rng(width).normal(size=(width, 8)).astype(np.float32)
    weight.const_value = ir.tensor(values, name="w")
    model.graph.register_initializer(weight)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_model(model, path)
    return path


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "quick.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return load_recipe(str(recipe_file))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a folder of four models, one of them broken."""
    folder = tmp_path / "models"
    for number, name in enumerate(("a.onnx", "b.onnx", "deep/c.onnx")):
        save_net(folder / name, 16 + number)
    (folder / "broken.onnx").write_bytes(b"no model")
    return folder


@pytest.fixture
def task(tmp_path: Path, recipe: Recipe) -> Task:
    out = tmp_path / "out"
    target = out / "net.onnx"
    job = Job(save_net(tmp_path / "net.onnx"), recipe, target, overwrite=True)
    return Task("net.onnx", job, out / "net.onnx.report.json", limits=Limits(60.0))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Place(str(scratch), str(Path.cwd()))


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        try:
            os.close(end)
        except OSError:  # the test has closed it
            continue
