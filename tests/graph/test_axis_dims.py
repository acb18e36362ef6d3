"""Shapes that a model computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnx_pare.graph.axes import Stop

Prove = Callable[..., Any]
HEAD = "g (float[1,3,6,6] x) => (float[1,2,6,6] y) <float[8,3,1,1] w, float[8,3,1,1] q, float[2,8,1,1] v"


def test_a_shape_that_is_computed_follows_if_lengths_only_move(prove: Prove) -> None:
    text = f"""{HEAD}, int64[1] z = {{0}}, int64[1] o = {{1}}, int64[1] t = {{2}}, int64[1] m = {{-1}}> {{
      a = Conv (x, w) s = Shape (a) n = Slice (s, z, t, z) h = Concat <axis = 0> (n, m) b = Reshape (a, h)
      r = Relu (b) i = Shape (x) j = Slice (i, t, m2, z) k = Concat <axis = 0> (n, j) c = Reshape (r, k)
      y = Conv (c, v) }}"""
    prove(text.replace("int64[1] m =", "int64[1] m2 = {4}, int64[1] m ="), "Conv_0: 8")


def test_a_shape_that_is_computed_with_keeps_the_channels(prove: Prove) -> None:
    text = f"""{HEAD}, int64[1] z = {{0}}, int64[1] o = {{1}}, int64[1] m = {{-1}}, int64[1] t = {{2}}> {{
      a = Conv (x, w) s = Shape (a) n = Slice (s, o, t, z) h = Div (n, t) k = Concat <axis = 0> (o, t, h, m)
      b = Reshape (a, k) c = Transpose <perm = [0, 2, 1, 3]> (b) d = Reshape (c, s) y = Conv (d, v) }}"""
    groups, _ = prove(text)
    assert groups.left[0].stop.node == "Div_3"


def test_a_length_that_the_model_tells_stays(prove: Prove) -> None:
    text = f"""{HEAD}> {{ a = Conv (x, w) s = Shape (a) y = Conv (a, v) }}"""
    groups, _ = prove(text.replace("[1,2,6,6] y)", "[1,2,6,6] y, int64[4] s)"))
    assert groups.left[0].stop == Stop("Shape_1", "Shape", "the model's output")
