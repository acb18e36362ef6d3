"""Channels through operators that work element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from onnx_pare.graph.axes import Stop

Prove = Callable[..., Any]
HEAD = "g (float[1,3,6,6] x) => (float[1,2,6,6] y) <float[8,3,1,1] w, float[8,3,1,1] q, float[2,8,1,1] v"


def test_a_residual_stream_is_one_group(prove: Prove) -> None:
    text = f"""{HEAD}, float[4,8,1,1] i, float[8,4,1,1] j> {{
      a = Conv (x, w) b = Conv (a, i) c = Relu (b) d = Conv (c, j) e = Add (a,
       d) f = Relu (e) y = Conv (f, v) }}"""
    groups, _ = prove(text, "Conv_0+Conv_3: 8", "Conv_1: 4")
    assert [part.node.name for part in groups[0].consumers] == ["Conv_1", "Conv_6"]


def test_a_projection_ties_as_an_identity_does(prove: Prove) -> None:
    prove(f"{HEAD}> {{ a = Conv (x, w) b = Conv (x, q) c = Add (a, b) y = Conv (c, v) }}", "Conv_0+Conv_1: 8")


@pytest.mark.parametrize(
    ("body", "more"),
    [
        ("b = Add (a, c)", ", float[1,8,1,1] c"),
        ("b = Add (c, a)", ", float[8,1,1] c"),
        ("b = Mul (a, c)", ", float[8,6,6] c"),
        ("b = PRelu (a, c)", ", float[8,1,1] c"),
        ("b = Max (a, c)", ", float c = {0.1}"),
        ("z = Greater (a, c) b = Where (z, a, d)", ", float[8,1,1] c, float[1,8,1,1] d"),
        ("b = Clip (a, c)", ", float c = {-1.0}"),
    ],
)
def test_constants_for_each_channel_go_with_it(body: str, more: str, prove: Prove) -> None:
    groups, _ = prove(f"{HEAD}{more}> {{ a = Conv (x, w) {body} y = Conv (b, v) }}", "Conv_0: 8")
    assert len(groups[0].others) == more.count("8,")


def test_squeeze_and_excite(prove: Prove) -> None:
    text = f"""{HEAD}, float[4,8,1,1] s, float[4] t, float[8,4,1,1] e, float[8] o> {{
      a = Conv (x, w) p = ReduceMean <axes = [2, 3]> (a) b = Conv (p, s, t) c = Relu (b) d = Conv (c, e, o)
      g = HardSigmoid (d) m = Mul (a, g) y = Conv (m, v) }}"""
    prove(text, "Conv_0+Conv_4: 8", "Conv_2: 4")


def test_channels_that_join_the_input_stay(prove: Prove) -> None:
    text = f"""{HEAD}, float[3,8,1,1] r, float[2,3,1,1] u> {{
      a = Conv (x, w) b = Conv (a, r) c = Add (b, x) y = Conv (c, u) }}"""
    groups, _ = prove(text, "Conv_0: 8")
    assert [(left.layers, left.stop.node, left.stop.reason) for left in groups.left] == [
        (("Conv_1",), "x", "the model's input"),
        (("Conv_3",), "Conv_3", "the model's output"),
    ]


def test_an_operator_that_is_not_understood_keeps_what_it_reads_and_what_joins_it(prove: Prove) -> None:
    text = f"""{HEAD}, float[8,8,1,1] u> {{
      a = Conv (x, w) b = CumSum (a, k) c = Conv (x, q) d = Add (b, c) e = Conv (d, u) y = Conv (e, v) }}"""
    groups, _ = prove(text.replace("> {", ", int64 k = {2}> {", 1), "Conv_4: 8")
    first = groups.left[0]
    assert first.layers == ("Conv_0", "Conv_2")
    assert first.stop == Stop("CumSum_1", "CumSum", "is not understood")


def test_a_constant_that_something_else_reads_stays(prove: Prove) -> None:
    text = """g (float[1,3] x, float[1,8] z) => (float[1,2] y, float[1,8] t) <float[3,8] w, float[8] b,
       float[8,2] v> {
      a = MatMul (x, w) c = Add (a, b) y = MatMul (c, v) t = Add (z, b) }"""
    groups, _ = prove(text)
    assert groups.left[0].layers == ("MatMul_0",)
    assert (groups.left[0].stop.node, groups.left[0].stop.reason) == ("z", "the model's input")


def test_what_a_subgraph_reads_stays(prove: Prove) -> None:
    text = """g (float[1,3] x) => (float[1,2] y) <float[3,8] w, float[8,8] u, float[8,2] v> {
      a = MatMul (x, w) s = ReduceSum <keepdims = 0> (x) k = Cast <to = 9> (s)
      c = If (k) <then_branch = t () => (float[1,8] i) { i = Relu (a) }, else_branch = f () => (float[1,8] j)
        { j = Tanh (a) }> d = MatMul (c, u) y = MatMul (d, v) }"""
    groups, _ = prove(text, "MatMul_4: 8")
    assert groups.left[0].stop.reason == "reads them inside of a subgraph"
