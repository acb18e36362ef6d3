"""Channels through operators that cut an axis in several, or make one of several."""

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


def test_channel_shuffle(prove: Prove) -> None:
    text = f"""{HEAD}, int64[5] k = {{1, 2, 4, 6, 6}}, int64[4] l = {{1, -1, 6, 6}}> {{
      a = Conv (x, w) b = Reshape (a, k) c = Transpose <perm = [0, 2, 1, 3, 4]> (b) d = Reshape (c, l)
      y = Conv (d, v) }}"""
    groups, model = prove(text, "Conv_0: 4")
    assert groups[0].producers[0].unit_of.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert groups[0].consumers[0].unit_of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert ints(model, "Reshape_1", 1) == [1, 2, 2, 6, 6]


@pytest.mark.parametrize(
    "flatten",
    ["f = Flatten (a)", "f = Reshape (a, k)", "p = Transpose <perm = [0, 2, 3, 1]> (a) f = Flatten (p)"],
)
def test_flatten_repeats_channels(flatten: str, prove: Prove) -> None:
    text = f"""g (float[1,3,2,2] x) => (float[1,5] y) <float[8,3,1,1] w, float[32,5] v,
       int64[2] k = {{1, 32}}> {{
      a = Conv (x, w) {flatten} y = Gemm (f, v) }}"""
    groups, _ = prove(text, "Conv_0: 8")
    order = [unit for unit in range(8) for _ in range(4)] if "Transpose" not in flatten else [*range(8)] * 4
    assert groups[0].consumers[0].unit_of.tolist() == order


@pytest.mark.parametrize(("mode", "first"), [("DCR", [0, 1, 0, 1]), ("CRD", [0, 0, 0, 0])])
def test_depth_to_space_and_back(mode: str, first: list[int], prove: Prove) -> None:
    text = f"""{HEAD}> {{
      a = Conv (x, w) b = DepthToSpace <blocksize = 2, mode = "{mode}"> (a) r = Relu (b)
      c = SpaceToDepth <blocksize = 2> (r) y = Conv (c, v) }}"""
    groups, _ = prove(text, "Conv_0: 2")
    assert groups[0].producers[0].unit_of.tolist()[:4] == first


def test_squeeze_keeps_what_is_left(prove: Prove) -> None:
    text = """g (float[1,3,6,6] x) => (float[1,2] y) <float[8,3,1,1] w, float[8,2] v, int64[2] k = {2, 3}> {
      a = Conv (x, w) p = GlobalAveragePool (a) s = Squeeze (p, k) u = Unsqueeze (s, k) f = Squeeze (u, k)
      y = MatMul (f, v) }"""
    prove(text, "Conv_0: 8")
