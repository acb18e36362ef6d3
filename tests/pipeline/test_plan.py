from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from onnx_pare.errors import ModelError, UsageError
from onnx_pare.graph.save import write_model
from onnx_pare.pipeline.plan import Job, plan
from onnx_pare.pipeline.recipe import Recipe, load_recipe


def relu(folder: Path, shape: str) -> Path:
    net = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["": 17]> '
        f"g (float[{shape}] x) => (float[{shape}] y) {{ y = Relu(x) }}"
    )
    write_model(net, folder / "net.onnx")
    return folder / "net.onnx"


def recipe(folder: Path, benchmark: str = "profiles: []") -> Recipe:
    text = f"version: 1\nbenchmark: {{{benchmark}}}\npasses: [quantize_int8]"
    (folder / "test.yaml").write_text(text)
    return load_recipe(str(folder / "test.yaml"))


def test_free_dimensions_must_be_given(tmp_path: Path):
    model, one = relu(tmp_path, "N, L"), recipe(tmp_path)
    with pytest.raises(ModelError, match="'L'"):
        plan(Job(model, one))
    assert plan(Job(model, one, shapes={"x": (1, 7)})).input_shapes == {"x": (1, 7)}


def test_the_batch_is_that_of_the_benchmark(tmp_path: Path):
    job = Job(relu(tmp_path, "N, 16"), recipe(tmp_path, "batch: 6"))
    assert plan(job).input_shapes == {"x": (6, 16)}


def test_or_that_of_the_shape_given(tmp_path: Path):
    job = Job(relu(tmp_path, "N, 16"), recipe(tmp_path), shapes={"x": (8, 16)})
    assert plan(job).input_shapes == {"x": (8, 16)}


def test_the_two_must_agree(tmp_path: Path):
    job = Job(relu(tmp_path, "N, 16"), recipe(tmp_path, "batch: 6"), shapes={"x": (8, 16)})
    with pytest.raises(UsageError, match="batch 6, but the shape given for 'x' has a batch of 8"):
        plan(job)


def test_a_fixed_batch_cannot_be_another(tmp_path: Path):
    with pytest.raises(UsageError, match="fixed batch 2"):
        plan(Job(relu(tmp_path, "2, 4"), recipe(tmp_path, "batch: 6")))
