"""Channels through layers with weights, normalizations and pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from onnx_pare.graph.axes import Stop
from onnx_pare.graph.edit import constant

Prove = Callable[..., Any]
ENDS = "g (float[1,3,6,6] x) => (float[1,2,6,6] y)"
# of 3 channels, 8 between, and 2 at the end, where `m` is to go between `r` and `s`
WEIGHTS = "float[8,3,3,3] w, float[8] b, float[2,8,1,1] v"


def between(body: str, more: str = "", weights: str = WEIGHTS) -> str:
    return (
        f"{ENDS} <{weights}{more}> {{ c = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = HardSwish (c) "
        f"{body} y = Conv (s, v) }}"
    )


def test_a_layer_makes_channels_and_the_next_reads_them(prove: Prove) -> None:
    groups, model = prove(between("s = Sigmoid (r)"), "Conv_0: 8")
    group = groups[0]
    assert [part.value.name for part in group.producers] == ["w"]
    assert [part.value.name for part in group.consumers] == ["v"]
    assert [part.value.name for part in group.others] == ["b"]
    assert group.producers[0].unit_of.tolist() == list(range(8))
    assert (group.consumers[0].axis, group.contracted) == (1, False)
    assert [(left.layers, left.stop) for left in groups.left] == [
        (("Conv_3",), Stop("Conv_3", "Conv", "the model's output"))
    ]
    array = constant(model.graph.initializers["w"])
    assert array is not None
    assert array.shape == (4, 3, 3, 3)


@pytest.mark.parametrize(
    ("body", "more", "expected", "group"),
    [
        ("s = Conv <group = 8> (r, d)", ", float[8,1,3,3] d", ("Conv_0: 8",), 4),
        # whole groups of two: at least as many groups as channels in each
        ("s = Conv <group = 4> (r, d)", ", float[8,2,3,3] d", ("Conv_0: 4",), 2),
        # the same position of both groups
        ("s = Conv <group = 2> (r, d)", ", float[8,4,3,3] d", ("Conv_0: 4", "Conv_2: 4"), 2),
    ],
)
def test_groups_stay_equal(body: str, more: str, expected: tuple[str, ...], group: int, prove: Prove) -> None:
    text = between(body.replace("group", "pads = [1, 1, 1, 1], group"), more)
    _, model = prove(text, *expected)
    assert model.graph.node("Conv_2").attributes.get_int("group", 1) == group


def test_a_depth_multiplier_keeps_its_channels_together(prove: Prove) -> None:
    text = between("s = Conv <group = 8> (r, d)", ", float[16,1,1,1] d")
    text = text.replace("[2,8,1,1] v", "[2,16,1,1] v")
    groups, _ = prove(text, "Conv_0: 8")
    assert groups[0].consumers[0].unit_of.tolist() == [unit for unit in range(8) for _ in range(2)]


@pytest.mark.parametrize(
    ("attributes", "weight", "expected"),
    [
        ("", "float[8,8,3,3] t", ("Conv_0: 8", "ConvTranspose_2: 8")),
        ("group = 8,", "float[8,1,3,3] t", ("Conv_0: 8",)),
        ("group = 2,", "float[8,4,3,3] t", ("Conv_0: 4", "ConvTranspose_2: 4")),
    ],
)
def test_transposed_convolution(
    attributes: str, weight: str, expected: tuple[str, ...], prove: Prove
) -> None:
    body = f"s = ConvTranspose <{attributes} pads = [1, 1, 1, 1]> (r, t, u)"
    prove(between(body, f", {weight}, float[8] u"), *expected)


def test_normalizations_with_a_parameter_for_each_channel(prove: Prove) -> None:
    parameters = ", float[8] g, float[8] h, float[8] m, float[8] variance, float[8] i, float[8] j"
    body = "n = BatchNormalization (r, g, h, m, variance) s = InstanceNormalization (n, i, j)"
    groups, _ = prove(between(body, parameters), "Conv_0: 8")
    names = {part.value.name for part in groups[0].others}
    assert names == {"b", "g", "h", "m", "variance", "i", "j"}


@pytest.mark.parametrize(
    ("body", "more", "opset"),
    [
        ("s = GroupNormalization <num_groups = 4> (r, g, h)", ", float[8] g, float[8] h", 21),
        (
            "p = Reshape (r, k) n = InstanceNormalization (p, g, h) q = Reshape (n, l) s = Mul (q, i)",
            ", float[4] g, float[4] h, float[8,1,1] i, int64[3] k = {0, 4, -1}, int64[4] l = {1, 8, 6, 6}",
            17,
        ),
    ],
)
def test_group_normalization_loses_whole_groups(body: str, more: str, opset: int, prove: Prove) -> None:
    groups, _ = prove(between(body, more), "Conv_0: 4", opset=opset)
    assert groups[0].producers[0].unit_of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("body", "more", "node"),
    [
        ("s = Softmax <axis = 1> (r)", "", "Softmax_2"),
        ("s = LRN <size = 3> (r)", "", "LRN_2"),
        (
            "t = Transpose <perm = [0, 2, 3, 1]> (r) n = LayerNormalization (t, g) "
            "s = Transpose <perm = [0, 3, 1, 2]> (n)",
            ", float[8] g",
            "LayerNormalization_3",
        ),
    ],
)
def test_what_is_normalized_over_stays(body: str, more: str, node: str, prove: Prove) -> None:
    groups, _ = prove(between(body, more))
    left = {left.stop.node: left for left in groups.left}
    assert left[node].layers == ("Conv_0",)
    assert left[node].stop.reason == "normalizes over the channels"


def test_old_softmax_normalizes_over_all_that_follows(prove: Prove) -> None:
    assert prove(between("s = Softmax (r)").replace("HardSwish", "Relu"), opset=11)[0].left


def test_pooling_keeps_channels(prove: Prove) -> None:
    pool = "p = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r)"
    prove(between(f"{pool} q = GlobalAveragePool (p) s = Mul (r, q)"), "Conv_0: 8")


def test_matrix_products_have_channels_last(prove: Prove) -> None:
    text = """g (float[1,5,6] x) => (float[1,5,3] y) <float[6,8] w, float[8] b, float[8,8] v, float[8,3] u> {
      a = MatMul (x, w) c = Add (a, b) d = Relu (c) e = MatMul (d, v) f = Tanh (e) y = MatMul (f, u) }"""
    prove(text, "MatMul_0: 8", "MatMul_3: 8")


def test_gemm_in_all_its_forms_and_with_weights_that_are_moved_first(prove: Prove) -> None:
    text = """g (float[2,6] x) => (float[3,2] y) <float[8,6] w, float[1,8] b, float[8,4] v, float[4] c,
       float[4,3] u> {
      a = Gemm <transB = 1> (x, w, b) d = Relu (a) e = Gemm (d, v, c) f = Relu (e) t = Transpose (u)
      z = Gemm <transB = 1> (f, t) y = Transpose (z) }"""
    prove(text, "Gemm_0: 8", "Gemm_2: 4")


def test_weights_used_twice_go_together_in_both_places(prove: Prove) -> None:
    text = """g (float[1,4] x, float[1,4] z) => (float[1,2] y) <float[4,8] w, float[8,2] v, float[8,2] u> {
      a = MatMul (x, w) b = MatMul (z, w) c = Relu (a) d = Tanh (b)
      e = MatMul (c, v) f = MatMul (d, u) y = Add (e, f) }"""
    groups, _ = prove(text, "MatMul_0+MatMul_1: 8")
    assert [part.value.name for part in groups[0].consumers] == ["v", "u"]


@pytest.mark.parametrize("einsum", [False, True])
def test_attention_loses_a_dimension_of_every_head(einsum: bool, prove: Prove) -> None:
    text = """g (float[1,5,6] x) => (float[1,5,6] y)
      <float[6,24] w, float[24] b, float[8,6] o, int64[5] k = {1, 5, 3, 2, 4}, int64 i0 = {0}, int64 i1 = {1},
       int64 i2 = {2}, int64[3] l = {1, 5, 8}> {
      a = MatMul (x, w) c = Add (a, b) d = Reshape (c, k) e = Transpose <perm = [2, 0, 3, 1, 4]> (d)
      q = Gather (e, i0) p = Gather (e, i1) v = Gather (e, i2)
      pt = Transpose <perm = [0, 1, 3, 2]> (p) s = MatMul (q, pt) n = Softmax <axis = -1> (s)
      h = MatMul (n, v) t = Transpose <perm = [0, 2, 1, 3]> (h) r = Reshape (t, l) y = MatMul (r, o) }"""
    if einsum:
        text = text.replace("s = MatMul (q, pt)", 's = Einsum <equation = "bhid, bhjd -> bhij"> (q, p)')
        text = text.replace("pt = Transpose <perm = [0, 1, 3, 2]> (p)", "")
        text = text.replace("h = MatMul (n, v)", 'h = Einsum <equation = "bhij,bhjd->bhid"> (n, v)')
    groups, _ = prove(text, "MatMul_0: 4")
    assert groups[0].contracted
    assert groups[0].consumers[0].unit_of.tolist() == [0, 1, 2, 3] * 2


def test_a_recurrent_net_reads_channels(prove: Prove) -> None:
    text = """g (float[5,1,4] x) => (float[5,1,1,3] y)
      <float[4,8] w, float[1,12,8] i, float[1,12,3] r, float[1,24] b> {
      a = MatMul (x, w) c = Relu (a) y = LSTM <hidden_size = 3> (c, i, r, b) }"""
    groups, _ = prove(text, "MatMul_0: 8")
    assert [part.value.name for part in groups[0].consumers] == ["i"]
