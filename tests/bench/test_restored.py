"""Weights that onnxruntime restores in several steps are restored in a file, with the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnx_pare.bench.restored import restored
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph import wire
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.passes.base import Context
from onnx_pare.passes.quantize_weights import QuantizeWeights

TEXT = """<ir_version: 10, opset_import: ["": 21]> g (float[N, 16] x) => (float[N, 5] y)
    { h = MatMul(x, a) r = Relu(h) y = MatMul(r, b) }"""


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "STREAMED_BYTES", 100)


@pytest.fixture
def stored(tmp_path: Path):
    """Return a function that writes a model whose weights are stored with these options."""

    def write(**options) -> Path:
        net, rng = ir.from_onnx_text(TEXT), np.random.default_rng(0)
        values = ir.convenience.create_value_mapping(net.graph)
        for name, shape in (("a", (16, 32)), ("b", (32, 5))):
            values[name].const_value = ir.tensor(rng.normal(size=shape).astype(np.float32), name=name)
            net.graph.register_initializer(values[name])
        made = QuantizeWeights(QuantizeWeights.Options(min_elements=64, **options)).apply(
            net, Context(synthetic_samples(net, count=1), tmp_path)
        )
        write_model(made.model, tmp_path / "net.onnx")
        return tmp_path / "net.onnx"

    return write


def outputs(path: Path) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(3, 16)).astype(np.float32)
    return Session(path).run({"x": x})[0]


@pytest.mark.parametrize(
    "options",
    [
        {"format": "cast"},
        {"format": "cast", "block_size": 6},
        {"format": "cast", "bits": 4},
        {"format": "cast", "levels": "log"},
    ],
)
def test_the_numbers_are_the_same(stored, tmp_path: Path, options) -> None:
    path = stored(**options)
    copy = restored(path, tmp_path)
    assert copy != path
    assert [node.op_type for node in load_model(copy).graph] == ["MatMul", "Relu", "MatMul"]
    tensors = onnx.load(copy, load_external_data=False).graph.initializer
    assert {tensor.data_type for tensor in tensors} == {onnx.TensorProto.FLOAT}
    np.testing.assert_array_equal(outputs(copy), outputs(path))


def test_what_onnxruntime_does_not_fold_stays(stored, tmp_path: Path) -> None:
    path = stored(format="dequantize", block_size=8)
    assert restored(path, tmp_path) == path


def test_one_step_stays(tmp_path: Path) -> None:
    net = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1, 2] x) => (float[1, 64] y)
        { f = Cast <to = 1> (h) y = MatMul(x, f) }"""
    )
    value = ir.convenience.create_value_mapping(net.graph)["h"]
    value.const_value = ir.tensor(np.ones((2, 64), np.float16), name="h")
    net.graph.register_initializer(value)
    write_model(net, tmp_path / "net.onnx")
    assert restored(tmp_path / "net.onnx", tmp_path) == tmp_path / "net.onnx"
