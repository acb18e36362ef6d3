from __future__ import annotations

import onnx_ir as ir
import pytest

from onnx_pare.quantization.storable import storable

HEAD = '<ir_version: 8, opset_import: ["": 17]>'
TAIL = "<float[4,4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}>"


@pytest.mark.parametrize(
    ("body", "axis"),
    [
        ("y = MatMul (x, w)", -2),
        ("t = Transpose (w)  y = MatMul (x, t)", -1),
        ("i = Constant <value = int64[2] {0, 1}> ()  g = Gather (w, i)  y = Add (x, g)", -1),
        ("t = Transpose (w)  s = Concat <axis = 0> (t, t)  y = MatMul (x, s)", -1),
    ],
)
def test_found(body: str, axis: int) -> None:
    model = ir.from_onnx_text(f"{HEAD} g (float[2,4] x) => (float[2,4] y) {TAIL} {{ {body} }}")
    (weight,) = storable(model)
    assert (weight.value.name, weight.axis) == ("w", axis)


@pytest.mark.parametrize(
    "body",
    [
        "y = Add (x, w)",
        "t = Transpose (w)  y = Add (x, t)",  # a grid, an anchor: no weight
        "t = Transpose (w)  m = MatMul (x, t)  y = Add (m, t)",
        "c = Concat <axis = 0> (x, w)  y = MatMul (x, c)",
    ],
)
def test_not_found(body: str) -> None:
    model = ir.from_onnx_text(f"{HEAD} g (float[4,4] x) => (float[4,4] y) {TAIL} {{ {body} }}")
    assert storable(model) == []
