from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from onnx_pare.graph.channels import Channels, trace


def traced(
    body: str, more: str = "", returns: str = "float[n, k, u, v] y"
) -> tuple[Channels, dict[str, ir.Value]]:
    """Trace a graph of 1x1 convolutions with weights w (4 to 4 channels) and v (6 to 3).

    Cos stands for a layer of any width.
    """
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["": 17]> '
        f"g (float[1, 4, 6, 6] x, float[4, 4, 1, 1] w, float[3, 6, 1, 1] v{more}) => ({returns}) {{ {body} }}"
    )
    values = ir.convenience.create_value_mapping(model.graph)
    for name, shape in {"w": (4, 4, 1, 1), "v": (3, 6, 1, 1)}.items():
        values[name].const_value = ir.tensor(np.ones(shape, np.float32), name=name)
        model.graph.inputs.remove(values[name])
        model.graph.register_initializer(values[name])
    ShapeInferencePass()(model)
    return trace(model.graph, lambda node: node.op_type in ("Conv", "Cos")), values


def is_free(channels: Channels, value: ir.Value) -> list[bool]:
    return channels.free()[channels.roots(value)].tolist()


def test_a_chain_is_free_between_its_layers_and_fixed_at_its_ends():
    channels, at = traced("a = Conv(x, w) r = Relu(a) p = MaxPool <kernel_shape = [2, 2]> (r) y = Conv(p, w)")
    assert is_free(channels, at["x"]) == is_free(channels, at["y"]) == [False] * 4
    assert is_free(channels, at["p"]) == [True] * 4
    np.testing.assert_array_equal(channels.roots(at["a"]), channels.roots(at["p"]))
    assert len(set(channels.roots(at["a"]))) == 4
    assert len(channels) == 12
    assert channels.free().sum() == 4


def test_a_residual_addition_ties_channel_by_channel():
    channels, at = traced("a = Conv(x, w) r = Relu(a) b = Conv(r, w) s = Add(r, b) y = Conv(s, w)")
    np.testing.assert_array_equal(channels.roots(at["a"]), channels.roots(at["b"]))
    np.testing.assert_array_equal(channels.roots(at["s"]), channels.roots(at["b"]))
    assert len(set(channels.roots(at["s"]))) == 4
    assert is_free(channels, at["s"]) == [True] * 4


def test_what_is_tied_to_an_input_or_output_is_fixed_too():
    channels, at = traced("a = Conv(x, w) s = Add(a, x) r = Relu(s) y = Conv(r, w)")
    assert is_free(channels, at["a"]) == is_free(channels, at["r"]) == [False] * 4
    channels, at = traced("a = Conv(x, w) b = Conv(a, w) y = Add(a, b)")
    assert is_free(channels, at["a"]) == is_free(channels, at["b"]) == [False] * 4


def test_concat_and_split_keep_each_channel():
    channels, at = traced(
        "a = Conv(x, w) b = Conv(x, w) c = Concat <axis = 1> (a, b) "
        "k = Constant <value = int64[2] {6, 2}> () p, q = Split <axis = 1> (c, k) y = Conv(p, v) z = Exp(q)",
        returns="float[n, k, u, v] y, float[n, l, u, v] z",
    )
    joined = np.concatenate([channels.roots(at["a"]), channels.roots(at["b"])])
    np.testing.assert_array_equal(channels.roots(at["c"]), joined)
    np.testing.assert_array_equal(channels.roots(at["p"]), joined[:6])
    np.testing.assert_array_equal(channels.roots(at["q"]), joined[6:])
    assert is_free(channels, at["c"]) == [True] * 6 + [False] * 2


def test_slice_takes_the_channels_it_keeps():
    channels, at = traced(
        "a = Conv(x, w) s = Constant <value = int64[2] {1, 0}> () e = Constant <value = int64[2] {4, 6}> () "
        "d = Constant <value = int64[2] {1, 2}> () t = Constant <value = int64[2] {2, 2}> () "
        "b = Slice(a, s, e, d, t) y = Exp(b) c = Conv(a, w) z = Relu(c)",
        returns="float[n, k, u, v] y, float[n, l, h, v] z",
    )
    np.testing.assert_array_equal(channels.roots(at["b"]), channels.roots(at["a"])[[1, 3]])
    assert is_free(channels, at["a"]) == [True, False, True, False]


def test_pad_adds_channels_of_its_own():
    channels, at = traced(
        "a = Conv(x, w) k = Constant <value = int64[8] {0, 1, 0, 0, 0, 1, 0, 0}> () "
        "b = Pad(a, k) y = Conv(b, v)"
    )
    roots = channels.roots(at["b"])
    np.testing.assert_array_equal(roots[1:5], channels.roots(at["a"]))
    assert len(set(roots)) == 6
    assert is_free(channels, at["b"]) == [True] * 6


def test_flatten_repeats_a_channel_over_its_positions():
    for flatten in (
        "f = Flatten(a)",
        "k = Constant <value = int64[2] {1, -1}> () f = Reshape(a, k)",
    ):
        channels, at = traced(f"a = Conv(x, w) {flatten} y = Exp(f)", returns="float[n, k] y")
        np.testing.assert_array_equal(channels.roots(at["f"]), np.repeat(channels.roots(at["a"]), 36))


FIXING = {
    "an operator not known": "b = Exp(a)",
    "a negative lower bound": "k = Constant <value = float {-1.0}> () b = Clip(a, k)",
    "no lower bound": "b = Clip(a)",
    "a constant that is added": "k = Constant <value = float[1] {1.0}> () b = Add(a, k)",
    "padding with ones": (
        "p = Constant <value = int64[8] {0, 0, 1, 1, 0, 0, 1, 1}> () "
        "k = Constant <value = float {1.0}> () b = Pad(a, p, k)"
    ),
    "channels moved": "b = Transpose <perm = [0, 2, 3, 1]> (a)",
}
KEEPING = {
    "padding by reflection": (
        'p = Constant <value = int64[8] {0, 0, 1, 1, 0, 0, 1, 1}> () b = Pad <mode = "reflect"> (a, p)'
    ),
    "another axis": "b = Concat <axis = 2> (a, a)",
    "slicing without axes": (
        "s = Constant <value = int64[1] {0}> () e = Constant <value = int64[1] {1}> () b = Slice(a, s, e)"
    ),
}


@pytest.mark.parametrize("reason", FIXING)
def test_channels_that_meet_anything_else_are_fixed(reason: str):
    channels, at = traced(f"a = Conv(x, w) {FIXING[reason]} c = Cos(b) y = Relu(c)")
    assert is_free(channels, at["a"]) == [False] * 4


@pytest.mark.parametrize("way", KEEPING)
def test_what_happens_along_other_axes_is_no_matter(way: str):
    channels, at = traced(f"a = Conv(x, w) {KEEPING[way]} c = Cos(b) y = Relu(c)")
    assert is_free(channels, at["a"]) == is_free(channels, at["b"]) == [True] * 4
    np.testing.assert_array_equal(channels.roots(at["a"]), channels.roots(at["b"]))


def test_a_layer_alone_fixes_nothing():
    channels, at = traced("a = Conv(x, w) b = Relu(a) c = Cos(b) y = Relu(c)")
    assert is_free(channels, at["a"]) == [True] * 4


def test_clip_from_zero_scales_as_relu_does():
    channels, at = traced(
        "a = Conv(x, w) k = Constant <value = float {0.0}> () m = Constant <value = float {6.0}> () "
        "b = Clip(a, k, m) y = Conv(b, w)"
    )
    assert is_free(channels, at["b"]) == [True] * 4


def test_what_a_subgraph_reads_is_fixed():
    branches = (
        "then_branch = t () => (float[1, 4, 6, 6] i) { i = Relu(a) }, "
        "else_branch = f () => (float[1, 4, 6, 6] j) { j = Exp(x) }"
    )
    channels, at = traced(
        f"a = Conv(x, w) b = Conv(a, w) c = Conv(b, w) z = If (q) <{branches}> y = Relu(c)",
        more=", bool q",
        returns="float[n, k, u, v] y, float[n, l, h, v] z",
    )
    assert is_free(channels, at["a"]) == [False] * 4
    assert is_free(channels, at["b"]) == [True] * 4
