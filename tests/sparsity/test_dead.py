"""Units whose channels every layer reads as zeros."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from onnx_pare.graph.groups import find_groups
from onnx_pare.sparsity.dead import dead_units
from onnx_pare.sparsity.metadata import Zeros, write_zeros

HEAD = """<ir_version: 8, opset_import: ["": 17]> g (float[1,2,4,4] x) => (float[1,1,4,4] y)
  <float[4,2,1,1] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[4,2,1,1] u = {1, 2, 3, 4, 5, 6, 7, 8},
   float[1,4,1,1] v = {1, 2, 3, 4}, float[1,8,1,1] t = {1, 2, 3, 4, 5, 6, 7, 8}, float o = {1},
   float[1,6,1,1] q = {1, 2, 3, 4, 5, 6}, float[4,1,1,1] d = {1, 2, 3, 4}, float[4] b = {1, 2, 3, 4},
   int64[8] p = {0, 1, 0, 0, 0, 1, 0, 0}> {"""


def dead(body: str, marks: dict[str, tuple[int, ...]]) -> dict[int, list[int]]:
    model = ir.from_onnx_text(f"{HEAD} {body} }}")
    for node in model.graph:
        if node.outputs[0].name in marks:
            write_zeros(node, Zeros(0.5, 1, (0.5,) * 4, marks[node.outputs[0].name]))
    return dead_units(find_groups(model))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Conv (x, w) r = Relu (a) y = Conv (r, v)", {0: [1, 3]}),
        ("a = Conv (x, w) r = Relu (a) m = MaxPool <kernel_shape = [1, 1]> (r) y = Conv (m, v)", {0: [1, 3]}),
        ("a = Conv (x, w) r = Relu (a) h = Sigmoid (r) y = Conv (h, v)", {}),
        # the bias of the depthwise convolution makes something of nothing
        ("a = Conv (x, w) r = Relu (a) f = Conv <group = 4> (r, d, b) y = Conv (f, v)", {}),
        ("a = Conv (x, w) r = Relu (a) e = Add (r, a) y = Conv (e, v)", {}),
        ("a = Conv (x, w) r = Relu (a) e = Add (r, o) y = Conv (e, v)", {}),
        ("a = Conv (x, w) r = Relu (a) e = Mul (r, a) y = Conv (e, v)", {0: [1, 3]}),
        ("a = Conv (x, w) r = Relu (a) f = Conv (a, v) e = Conv (r, v) y = Add (e, f)", {}),
        ("a = Conv (x, w) r = Relu (a) k = Pad (r, p) y = Conv (k, q)", {0: [1, 3]}),
    ],
)
def test_what_may_lie_between_an_activation_and_its_readers(
    body: str, expected: dict[int, list[int]]
) -> None:
    assert dead(body, {"r": (1, 3)}) == expected


def test_all_branches_of_a_sum_must_be_dead() -> None:
    body = "a = Conv (x, w) r = Relu (a) c = Conv (x, u) s = Relu (c) e = Add (r, s) y = Conv (e, v)"
    assert dead(body, {"r": (1, 3), "s": (0, 3)}) == {0: [3]}
    assert dead(body, {"r": (1, 3)}) == {}


def test_concatenated_channels_are_dead_by_themselves() -> None:
    two = "a = Conv (x, w) r = Relu (a) c = Conv (x, u) s = Relu (c)"
    body = f"{two} e = Concat <axis = 1> (r, s) y = Conv (e, t)"
    assert dead(body, {"r": (1, 3), "s": (0,)}) == {0: [1, 3], 1: [0]}


def test_one_of_nothing_but_dead_channels_is_kept() -> None:
    assert dead("a = Conv (x, w) r = Relu (a) y = Conv (r, v)", {"r": (0, 1, 2, 3)}) == {0: [0, 1, 2]}
