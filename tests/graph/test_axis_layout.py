"""Channels through operators that move, join, cut and regroup values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from onnx_pare.graph.edit import constant

Prove = Callable[..., Any]
HEAD = "g (float[1,3,6,6] x) => (float[1,2,6,6] y) <float[8,3,1,1] w, float[8,3,1,1] q, float[2,8,1,1] v"


def ints(model: Any, node: str, place: int) -> list[int]:
    array = constant(model.graph.node(node).inputs[place])
    assert array is not None
    found: list[int] = array.tolist()
    return found


def test_a_zero_padded_shortcut_leaves_channels_that_only_convolutions_make(prove: Prove) -> None:
    text = """g (float[1,3,6,6] x) => (float[1,2,3,3] y)
      <float[4,3,1,1] w, float[8,4,1,1] u, float[2,8,1,1] v, int64[2] s = {0, 0}, int64[2] e = {6, 6},
       int64[2] d = {2, 3},
       int64[2] t = {2, 2}, int64[8] p = {0, 2, 0, 0, 0, 2, 0, 0}> {
      a = Conv (x, w) b = Conv <strides = [2, 2]> (a, u) c = Slice (a, s, e, d, t) f = Pad (c, p)
      h = Add (b, f) y = Conv (h, v) }"""
    groups, model = prove(text, "Conv_0+Conv_1: 4", "Conv_1: 4")
    assert groups[0].producers[1].unit_of.tolist() == [-1, -1, 0, 1, 2, 3, -1, -1]
    assert groups[1].producers[0].unit_of.tolist() == [0, 1, -1, -1, -1, -1, 2, 3]
    assert ints(model, "Pad_3", 1) == [0, 1, 0, 0, 0, 1, 0, 0]


def test_padding_with_other_numbers_is_cut_too(prove: Prove) -> None:
    text = f"""{HEAD.replace("[2,8,1,1] v", "[2,10,1,1] v")}, int64[8] p = {{0, 1, 0, 0, 0, 1, 0, 0}},
       float c = {{3.0}}> {{
      a = Conv (x, w) b = Pad (a, p, c) y = Conv (b, v) }}"""
    prove(text, "Conv_0: 8")


def test_concatenation_keeps_each_channel(prove: Prove) -> None:
    text = f"""{HEAD.replace("[2,8,1,1] v", "[2,22,1,1] v")}, float[3,3,1,1] u> {{
      a = Conv (x, w) b = Conv (x, q) t = Conv (x, u) i = Add (t, x) c = Concat <axis = 1> (a, b, x, i)
      y = Conv (c, v) }}"""
    groups, _ = prove(text, "Conv_0: 8", "Conv_1: 8")
    assert groups[1].consumers[0].unit_of.tolist() == [-1] * 8 + list(range(8)) + [-1] * 6


@pytest.mark.parametrize("opset", [11, 17])
def test_split_in_two_groups(opset: int, prove: Prove) -> None:
    given = ("s", ", int64[2] s = {3, 5}") if opset > 12 else ("", "")
    attribute = "" if opset > 12 else ", split = [3, 5]"
    text = f"""{HEAD}, float[2,3,1,1] u, float[2,5,1,1] t{given[1]}> {{
      a = Conv (x, w) b, c = Split <axis = 1{attribute}> (a{", s" if given[0] else ""})
      d = Conv (b, u) e = Conv (c, t) y = Add (d, e) }}"""
    groups, _ = prove(text, "Conv_0: 3", "Conv_0: 5", opset=opset)
    assert groups[1].producers[0].unit_of.tolist() == [-1, -1, -1, 0, 1, 2, 3, 4]


def test_split_that_was_equal_is_told_its_sizes(prove: Prove) -> None:
    text = f"""{HEAD}, float[2,4,1,1] u, float[4,8,1,1] t, float[2,4,1,1] i> {{
      a = Conv (x, w) b, c = Split <axis = 1> (a) d = Conv (b, u) e = Conv (a, t) f = Conv (e,
       i) g = Conv (c, i)
      h = Add (d, f) y = Add (h, g) }}"""
    prove(text, "Conv_0: 4", "Conv_0+Conv_3: 4")


def test_slices(prove: Prove) -> None:
    text = f"""{HEAD}, float[2,3,1,1] u, int64[1] s = {{1}}, int64[1] e = {{-4}}, int64[1] d = {{1}}> {{
      a = Conv (x, w) b = Slice (a, s, e, d) c = Conv (b, u) f = Conv (a, v) y = Add (c, f) }}"""
    _, model = prove(text, "Conv_0: 5", "Conv_0: 3")
    assert ints(model, "Slice_1", 1) == [0]
    assert ints(model, "Slice_1", 2) == [2]


def test_gather_picks_channels(prove: Prove) -> None:
    text = f"""{HEAD}, int64[8] k = {{7, 6, 5, 4, 3, -6, 1, 0}}> {{
      a = Conv (x, w) b = Gather <axis = 1> (a, k) y = Conv (b, v) }}"""
    groups, model = prove(text, "Conv_0: 8")
    assert groups[0].consumers[0].unit_of.tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    assert ints(model, "Gather_1", 1) == [3, 2, 1, 0]


def test_resize_expand_and_tile(prove: Prove) -> None:
    text = f"""{HEAD.replace("[2,8,1,1] v", "[2,16,1,1] v")}, int64[4] k = {{1, 8, 6, 6}},
       int64[4] l = {{1, 2, 1, 1}}> {{
      p = GlobalAveragePool (x) a = Conv (p, w) b = Expand (a, k) c = Resize (b, , , k) d = Add (b, c)
      e = Tile (d, l) f = Mul (e, e) y0 = Conv (f, v) r = ReduceMean <axes = [1]> (x) y = Add (y0, r) }}"""
    _, model = prove(text, "Conv_1: 8")
    assert ints(model, "Expand_2", 1) == ints(model, "Resize_3", 3) == [1, 4, 6, 6]
    assert "k" not in model.graph.initializers


@pytest.mark.parametrize(
    "cut",
    ["b = Slice (a, s, e, s)", "b, z = Split <axis = 1> (a, p)", "b = Gather <axis = 1> (a, s)"],
)
def test_a_channel_that_is_all_of_a_tensor_stays(cut: str, prove: Prove) -> None:
    text = f"""{HEAD}, float[2,1,1,1] u, int64[1] s = {{1}}, int64[1] e = {{2}}, int64[2] p = {{1, 7}}> {{
      a = Conv (x, w) {cut} c = Conv (b, u) d = Conv (a, v) y = Add (c, d) }}"""
    groups, _ = prove(text, "Conv_0: 7")
    assert "leaves no other channel" in {left.stop.reason for left in groups.left}
