from __future__ import annotations

from typing import Any

import numpy as np
import pytest

KB = 1000  # bytes of one float[250] tensor


def chain(body: str, outputs: str = "float[a] y") -> str:
    return f"g (float[250] x) => ({outputs}) {{ {body} }}"


@pytest.mark.parametrize(
    ("body", "total", "peak"),
    [
        # x and a, then a and b (x is gone), then a, b and y
        ("a = Add(x, x) b = Add(a, a) y = Add(a, b)", 4, 3),
        # x is an input: not overwritten; a is, by Relu and Tanh
        ("a = Relu(x) b = Tanh(a) y = Relu(b)", 4, 2),
        # not overwritten while something still reads it
        ("a = Add(x, x) b = Relu(a) y = Add(a, b)", 4, 3),
        # views share memory and keep it alive
        ("a = Add(x, x) v = Identity(a) b = Add(x, x) y = Add(v, b)", 4, 3),
        # an output that nothing reads is gone at once
        ("unused = Add(x, x) y = Add(x, x)", 3, 2),
    ],
)
def test_liveness(counted: Any, body: str, total: int, peak: int) -> None:
    cost = counted(chain(body))
    assert (cost.activation_bytes, cost.peak_activation_bytes) == (total * KB, peak * KB)


def test_graph_outputs_live_to_the_end(counted: Any) -> None:
    cost = counted(
        chain("early = Add(x, x) a = Add(x, x) b = Add(a, a) y = Add(b, b)", "float[a] early, float[b] y")
    )
    assert cost.peak_activation_bytes == 3 * KB


def test_a_residual_block(counted: Any) -> None:
    cost = counted(
        """g (float[1,4,8,8] x, float[4,4,3,3] w) => (float[a,b,c,d] y) {
            a = Conv <pads = [1,1,1,1]> (x, w)
            r = Relu(a)
            c = Conv <pads = [1,1,1,1]> (r, w)
            s = Add(c, x)
            y = Relu(s)
        }""",
        {"w": np.ones((4, 4, 3, 3), np.float32)},
    )
    one = 4 * 64 * 4
    # at the second convolution: x, which the Add still needs, r (in the place of a), and c
    assert cost.peak_activation_bytes == 3 * one
    assert cost.activation_bytes == 6 * one


def test_constants_take_no_activation_memory(counted: Any) -> None:
    cost = counted(
        """g (float[1,250] x) => (float[a,b] y) <int64[2] s = {250, 250}> {
            w = ConstantOfShape(s)
            t = Transpose(w)
            y = MatMul(x, t)
        }"""
    )
    assert (cost.activation_bytes, cost.peak_activation_bytes) == (2 * KB, 2 * KB)
    assert (cost.nodes, len(cost.rows)) == (3, 1)


def test_the_dearer_branch_adds_its_peak(counted: Any) -> None:
    cost = counted(
        """g (float[250] x, bool c) => (float[n] y) {
            y = If (c) <
                then_branch = t () => (float[n] o) { a = Add(x, x) b = Add(x, x) o = Sum(a, b, x) },
                else_branch = e () => (float[n] p) { p = Identity(x) }
            >
        }"""
    )
    # x, the condition, and in the branch a, b and o (which becomes y)
    assert cost.peak_activation_bytes == 4 * KB + 1
