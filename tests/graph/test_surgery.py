"""What is asked of `remove_channels` and cannot be done, and what it leaves; the rules' tests do the rest."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from onnx_pare.graph.edit import constant
from onnx_pare.graph.groups import find_groups
from onnx_pare.graph.save import serialize
from onnx_pare.graph.surgery import remove_channels

TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[N,3,4,4] x) => (float[N,2,4,4] y)
  <float[2,3,1,1] w = {1, 2, 3, 4, 5, 6}, float[2] b = {7, 8}, float[2,2,1,1] v = {1, 2, 3, 4},
       float[N,2,4,4] a> {
  [one] a = Conv (x, w, b) [two] y = Conv (a, v) }"""


def test_constants_and_declared_shapes_are_cut() -> None:
    model = ir.from_onnx_text(TEXT)
    value = model.graph.node("one").outputs[0]
    kept = remove_channels(model, find_groups(model), {0: [0]})
    assert value.shape == ir.Shape(["N", 1, 4, 4])
    assert kept[value][1].tolist() == [False, True]
    arrays = {name: constant(value) for name, value in model.graph.initializers.items()}
    assert {name: array.ravel().tolist() for name, array in arrays.items() if array is not None} == {
        "w": [4, 5, 6],
        "b": [8],
        "v": [2, 4],
    }


@pytest.mark.parametrize("units", [{0: [0, 1]}, {0: [2]}, {0: [-1]}])
def test_no_group_may_lose_what_it_has_not_or_all(units: dict[int, list[int]]) -> None:
    model = ir.from_onnx_text(TEXT)
    before = serialize(model)
    with pytest.raises(ValueError, match="group 0"):
        remove_channels(model, find_groups(model), units)
    assert serialize(model) == before


def test_nothing_to_remove_leaves_every_byte() -> None:
    model = ir.from_onnx_text(TEXT)
    before = serialize(model)
    assert remove_channels(model, find_groups(model), {0: []}) == {}
    assert serialize(model) == before


def test_a_constant_that_two_nodes_are_told_by_stays_for_the_other(tmp_path: Path) -> None:
    text = TEXT.replace("float[N,2,4,4] a>", "int64[4] k = {-1, 2, 4, 4}>").replace(
        "[two] y = Conv (a, v)", "r = Reshape (a, k) c = Conv (r, v) y = Reshape (c, k)"
    )
    model = ir.from_onnx_text(text)
    remove_channels(model, find_groups(model), {0: [1]})
    shapes = [constant(node.inputs[1]) for node in model.graph if node.op_type == "Reshape"]
    assert [shape.tolist() for shape in shapes if shape is not None] == [[-1, 1, 4, 4], [-1, 2, 4, 4]]
