"""Which nodes make zeros, which only bend, and where their channels are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.sparsity.activations import bends, channels_last, makes_zeros


def parsed(nodes: str, opset: int = 17) -> ir.Model:
    opsets = f'"": {opset}, "com.microsoft": 1'
    text = f"""<ir_version: 8, opset_import: [{opsets}]> g (float[N,4] x) => (float[N,4] y)
      <float zero = {{0}}, float one = {{1}}, float[4,4] w = {{1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}},
       float[4] b = {{1, 2, 3, 4}}> {{ {nodes} }}"""
    return ir.from_onnx_text(text)


def last_node(nodes: str, opset: int = 17) -> ir.Node:
    return list(parsed(nodes, opset).graph)[-1]


CASES = [
    ("y = Relu (x)", 17, True),
    ("y = ThresholdedRelu (x)", 17, True),
    ("y = Clip (x, zero, one)", 17, True),
    ("y = Clip (x, zero)", 17, True),
    ("y = Clip (x, , zero)", 17, True),
    ("y = Clip (x, one)", 17, False),
    ("y = Clip (x)", 17, False),
    ("y = Clip <min = 0.0, max = 6.0> (x)", 9, True),
    ("y = Clip <min = -1.0, max = 6.0> (x)", 9, False),
    ("y = Max (zero, x)", 17, True),
    ("y = Max (one, x)", 17, False),
    ("y = Min (x, zero)", 17, True),
    ("y = HardSwish (x)", 17, True),
    ("y = HardSigmoid (x)", 17, True),
    ("y = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x)", 17, True),
    ("y = Shrink <lambd = 1.0> (x)", 17, True),
    ("y = Shrink <lambd = 1.0, bias = 0.5> (x)", 17, True),
    ("y = LeakyRelu <alpha = 0.0> (x)", 17, True),
    ("c = Greater (x, one)  y = Where (c, x, zero)", 17, True),
    ("c = Less (x, one)  y = Where (c, zero, x)", 17, True),
    ("c = Less (x, one)  n = Neg (x)  y = Where (c, n, x)", 17, False),
    ('y = com.microsoft.FusedGemm <activation = "Relu"> (x, w)', 17, True),
    ('y = com.microsoft.FusedGemm <activation = "Tanh"> (x, w)', 17, False),
    ("y = LeakyRelu (x)", 17, False),
    ("y = PRelu (x, b)", 17, False),
    ("y = Elu (x)", 17, False),
    ("y = Sigmoid (x)", 17, False),
    ("y = Mish (x)", 18, False),
    ("y = Gelu (x)", 20, False),
    ("s = Sigmoid (x)  y = Mul (x, s)", 17, False),
    ("z = Relu (x)  y = Neg (z)", 17, False),
]


@pytest.mark.parametrize(("nodes", "opset", "expected"), CASES)
def test_what_makes_zeros(nodes: str, opset: int, expected: bool, tmp_path: Path) -> None:
    assert makes_zeros(last_node(nodes, opset)) is expected
    write_model(parsed(nodes, opset), tmp_path / "m.onnx")
    x = np.linspace(-4.05, 4.05, 80, dtype=np.float32).reshape(-1, 4)  # not 0 itself
    (y,) = Session(tmp_path / "m.onnx").run({"x": x})
    several = bool(np.count_nonzero(y == 0) > 5)
    assert several is (expected or "Neg (z)" in nodes)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("y = LeakyRelu (x)", True),
        ("y = PRelu (x, b)", True),
        ("y = LeakyRelu <alpha = 0.0> (x)", False),
        ("y = Relu (x)", False),
        ("y = Elu (x)", False),
    ],
)
def test_what_only_bends(nodes: str, expected: bool) -> None:
    assert bends(last_node(nodes)) is expected


def test_bounds_of_integers_are_sizes() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (int64[4] x) => (int64[4] y) <int64 zero = {0}>
      { y = Max (x, zero) }"""
    assert not makes_zeros(next(iter(ir.from_onnx_text(text).graph)))


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("a = MatMul (x, w)  y = Relu (a)", True),
        ("a = MatMul (x, w)  h = Add (b, a)  y = Relu (h)", True),
        ("c = Constant <value_float = 1.0> ()  a = MatMul (x, w)  h = Mul (c, a)  y = Relu (h)", True),
        ("a = MatMul (x, w)  c = Greater (a, zero)  y = Where (c, a, zero)", True),
        ("y = com.microsoft.FusedGemm (x, w)", True),
        ("a = MatMul (x, w)  t = Transpose (a)  y = Relu (t)", False),
        ("a = Conv (x, w)  y = Relu (a)", False),
        ("y = Relu (x)", False),
    ],
)
def test_channels_last(nodes: str, expected: bool) -> None:
    assert channels_last(last_node(nodes)) is expected
