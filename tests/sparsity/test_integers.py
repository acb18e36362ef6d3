"""Zeros of quantized tensors: whose zero point is the lowest integer, and where to look."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from onnx_pare.sparsity.integers import cuts_at_zero, read, stored


def nodes(text: str) -> dict[str, ir.Node]:
    """Return nodes by the name of their output; `low`, `mid` are zero points of uint8, `bottom` of int8."""
    model = ir.from_onnx_text(
        f"""<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]>
        g (float[N,2] x, uint8[N,2] q) => (float[N,2] y)
        <float s = {{0.5}}, uint8 low = {{0}}, uint8 mid = {{128}}, int8 bottom = {{-128}}, int8 null = {{0}},
         float[2,2] w = {{1, 0, 0, 1}}, uint8[2,2] v = {{1, 0, 0, 1}}, uint8[2] each = {{0, 0}}>
        {{ {text} }}"""
    )
    return {node.outputs[0].name or "": node for node in model.graph}


PAIR = " d = DequantizeLinear (i, s, {zero})  y = Identity (d)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = MatMul (x, w)  i = QuantizeLinear (a, s, low)", True),
        ("a = MatMul (x, w)  i = QuantizeLinear (a, s, bottom)", True),
        ("a = MatMul (x, w)  i = QuantizeLinear (a, s)", True),
        ("a = MatMul (x, w)  i = QuantizeLinear (a, s, mid)", False),
        ("a = MatMul (x, w)  i = QuantizeLinear (a, s, null)", False),
        ("a = MatMul (x, w)  i = QuantizeLinear <output_dtype = 3> (a, s)", False),
        ("a = MatMul (x, w)  i = QuantizeLinear (a, s, low)  o = Neg (a)", False),
        ("a = Sigmoid (x)  i = QuantizeLinear (a, s, low)", False),
        ("a = QLinearMatMul (q, s, mid, v, s, low, s, low)  i = Identity (a)", True),
        ("a = QLinearMatMul (q, s, low, v, s, low, s, mid)  i = Identity (a)", False),
        ("a = com.microsoft.QLinearAdd (q, s, mid, q, s, mid, s, low)  i = Identity (a)", True),
        ("a = com.microsoft.QGemm (q, s, mid, v, s, low)  i = Identity (a)", False),
    ],
)
def test_cut_at_the_lowest_integer(text: str, expected: bool) -> None:
    zero = "bottom" if "bottom" in text or "null" in text else "low"
    assert cuts_at_zero(nodes(text + PAIR.format(zero=zero))["a"]) is expected


def test_outputs_are_looked_at_as_stored() -> None:
    found = nodes("a = MatMul (x, w)  i = QuantizeLinear (a, s, mid)" + PAIR.format(zero="mid"))
    assert (stored(found["a"]).value.name, stored(found["a"]).zero) == ("i", 128)
    assert (stored(found["d"]).value.name, stored(found["d"]).zero) == ("d", 0)
    both = nodes("a = MatMul (x, w)  i = QuantizeLinear (a, s, mid)  y = Neg (a)")
    assert stored(both["a"]).value.name == "a"
    integers = nodes("a = QLinearMatMul (q, s, low, v, s, low, s, mid)  y = DequantizeLinear (a, s, mid)")
    assert (stored(integers["a"]).value.name, stored(integers["a"]).zero) == ("a", 128)


def test_inputs_are_looked_at_as_stored() -> None:
    found = nodes(
        """i = QuantizeLinear (x, s, mid)  d = DequantizeLinear (i, s, mid)  m = MatMul (d, w)
        k = QLinearMatMul (i, s, mid, v, s, low, s, low)
        dyn, dyn_s, dyn_z = DynamicQuantizeLinear (m)  t = MatMulInteger (dyn, v, dyn_z, low)
        e = DequantizeLinear <axis = 1> (k, s, each)  f = MatMul (e, w)  y = MatMul (m, w)"""
    )
    expected = {"m": ("i", 128), "k": ("i", 128), "t": ("m", 0), "y": ("m", 0)}
    for name, (tensor, zero) in expected.items():
        seen = read(found[name], 0)
        assert seen is not None
        assert (seen.value.name, seen.zero) == (tensor, zero)
    assert read(found["f"], 0) is None
    assert read(found["f"], 5) is None
