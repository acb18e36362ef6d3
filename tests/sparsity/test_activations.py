"""Which nodes make zeros, where their channels are, and counting."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.sparsity.activations import ZeroCounter, channels_last, makes_zeros
from onnx_pare.sparsity.metadata import Zeros


def last_node(nodes: str, opset: int = 17) -> ir.Node:
    text = f"""<ir_version: 8, opset_import: ["": {opset}]> g (float[N,4] x) => (float[N,4] y)
      <float zero = {{0}}, float one = {{1}}, float[4,4] w, float[4] b = {{1, 2, 3, 4}}> {{ {nodes} }}"""
    return list(ir.from_onnx_text(text).graph)[-1]


@pytest.mark.parametrize(
    ("node", "opset", "expected"),
    [
        ("y = Relu (x)", 17, True),
        ("y = ThresholdedRelu (x)", 17, True),
        ("y = Clip (x, zero, one)", 17, True),
        ("y = Clip (x, zero)", 17, True),
        ("y = Clip (x, one)", 17, False),
        ("y = Clip (x)", 17, False),
        ("y = Clip <min = 0.0, max = 6.0> (x)", 9, True),
        ("y = Clip <min = -1.0, max = 6.0> (x)", 9, False),
        ("y = Max (zero, x)", 17, True),
        ("y = Max (one, x)", 17, False),
        ("y = Sigmoid (x)", 17, False),
        ("z = Relu (x)  y = Neg (z)", 17, False),
    ],
)
def test_makes_zeros(node: str, opset: int, expected: bool) -> None:
    assert makes_zeros(last_node(node, opset)) is expected


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("a = MatMul (x, w)  y = Relu (a)", True),
        ("a = MatMul (x, w)  h = Add (b, a)  y = Relu (h)", True),
        ("c = Constant <value_float = 1.0> ()  a = MatMul (x, w)  h = Mul (c, a)  y = Relu (h)", True),
        ("a = MatMul (x, w)  t = Transpose (a)  y = Relu (t)", False),
        ("a = Conv (x, w)  y = Relu (a)", False),
        ("y = Relu (x)", False),
    ],
)
def test_channels_last(nodes: str, expected: bool) -> None:
    assert channels_last(last_node(nodes)) is expected


def test_counting_per_channel_over_batches() -> None:
    counter = ZeroCounter()
    counter.update(np.array([[[0, 0], [1, 0]]], np.float32))
    counter.update(np.array([[[0, 0], [1, 1]], [[0, 0], [-0.0, 1]]], np.float32))
    assert counter.result() == Zeros(8 / 12, 1, (1.0, 2 / 6), (0,))
    assert counter.elements == 12


def test_no_axis_for_channels() -> None:
    counter = ZeroCounter()
    counter.update(np.array([0, 1, 0, 0], np.float32))
    counter.update(np.array(0, np.float32))
    assert counter.result() == Zeros(4 / 5)


def test_a_changing_number_of_channels_leaves_the_total() -> None:
    counter = ZeroCounter()
    counter.update(np.zeros((1, 3), np.float32))
    counter.update(np.ones((1, 5), np.float32))
    counter.update(np.ones((1, 2), np.float32))
    assert counter.result() == Zeros(0.3)


def test_nothing_seen() -> None:
    counter = ZeroCounter()
    counter.update(np.zeros((0, 3), np.float32))
    assert counter.result() == Zeros(0.0)
