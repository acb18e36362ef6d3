from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration.window import Window
from onnx_pare.graph.edit import Names, constant
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.sparsity.layers import layer_of

Array = np.ndarray
RNG = np.random.default_rng
LAYERS = {
    "Conv": "float[2,4,6,5] x => Conv <group = 2, pads = [1,1,1,1]> (x, w) ; float[6,2,3,3] w",
    "Conv with bias": "float[2,4,6,5] x => Conv (x, w, b) ; float[6,4,3,3] w, float[6] b",
    "Conv 1-D": "float[2,4,6] x => Conv <strides = [2]> (x, w, b) ; float[6,4,3] w, float[6] b",
    "Gemm": "float[2,4] x => Gemm (x, w) ; float[4,6] w",
    "Gemm, transposed": "float[2,4] x => Gemm <transB = 1> (x, w, b) ; float[6,4] w, float[1,6] b",
    "MatMul": "float[2,3,4] x => MatMul (x, w) ; float[4,6] w",
}
LEFT = {
    "computed": "float[6,4,3,3] w, float[2,4,6,5] x => Conv (x, w) ; float[1] unused",
    "scaled": "float[2,4] x => Gemm <alpha = 0.5> (x, w) ; float[4,6] w",
    "input transposed": "float[4,2] x => Gemm <transA = 1> (x, w) ; float[4,6] w",
    "rows differ in bias": "float[2,4] x => Gemm (x, w, b) ; float[4,6] w, float[2,6] b",
    "one bias for all": "float[2,4] x => Gemm (x, w, b) ; float[4,6] w, float[1] b",
    "half precision": "float16[2,4] x => MatMul (x, w) ; float16[4,6] w",
    "weight on the left": "float[4,6] x => MatMul (w, x) ; float[3,4] w",
    "not a layer": "float[2,4] x => Add (x, w) ; float[2,4] w",
}


def model_of(text: str) -> ir.Model:
    source, rest = text.split(" => ")
    call, weights = rest.split(" ; ")
    kind = "float16" if "float16" in text else "float"
    model = ir.from_onnx_text(
        f'<ir_version: 8, opset_import: ["": 17]> g ({source}, {weights}) => ({kind}[n] y) {{ y = {call} }}'
    )
    ports = [value for value in model.graph.inputs if value.name in ("w", "b") and value.uses()]
    for port in ports if "computed" not in text and "w, float[2,4,6,5]" not in text else ():
        model.graph.inputs.remove(port)
        shape = [int(dim) for dim in port.shape]
        port.const_value = ir.tensor(
            RNG(len(shape)).normal(size=shape).astype(port.dtype.numpy()), name=port.name
        )
        model.graph.register_initializer(port)
    return model


def run(model: ir.Model, path: Path, x: Array) -> Array:
    write_model(model, path)
    return Session(path).run({"x": x})[0]


@pytest.mark.parametrize("name", LAYERS)
def test_rows_put_back_are_the_layer(name: str, tmp_path: Path):
    model = model_of(LAYERS[name])
    model.graph.outputs[0].shape = None
    layer = layer_of(model.graph[0])
    assert layer is not None
    x = RNG(0).normal(size=[int(dim) for dim in model.graph.inputs[0].shape]).astype(np.float32)
    before = run(model, tmp_path / "a.onnx", x)
    rows = layer.rows()
    groups, outputs, _ = rows.shape
    assert (groups, groups * outputs) == (2 if name == "Conv" else 1, 6)
    given = constant(layer.node.inputs[2]) if len(layer.node.inputs) > 2 else np.zeros(6, np.float32)
    added = RNG(1).normal(size=(groups, outputs)) if layer.takes_bias else None
    bias = None if added is None else given.reshape(groups, outputs) + added
    layer.put(rows * 2, bias, Names(model))
    after = run(model, tmp_path / "b.onnx", x)
    axis = 1 if name.startswith("Conv") else before.ndim - 1
    shape = [6 if at == axis else 1 for at in range(before.ndim)]
    plain = before - given.reshape(shape)
    shift = 0 if added is None else added.reshape(shape)
    np.testing.assert_allclose(after, 2 * plain + given.reshape(shape) + shift, atol=1e-4)


@pytest.mark.parametrize("name", LEFT)
def test_what_cannot_be_fitted_is_left(name: str):
    assert layer_of(model_of(LEFT[name]).graph[0]) is None


def test_a_weight_read_twice_is_left():
    model = ir.from_onnx_text("""<ir_version: 8, opset_import: ["": 17]>
g (float[2,4] x) => (float[2,4] y) <float[1,1] w = {2.0}> { a = MatMul (x, w)  y = MatMul (a, w) }""")
    assert [layer_of(node) for node in model.graph] == [None, None]


def test_windows_of_layers():
    assert layer_of(model_of(LAYERS["MatMul"]).graph[0]).window == Window()
    assert layer_of(model_of(LAYERS["Conv"]).graph[0]).window.groups == 2
