from __future__ import annotations

import onnx_ir as ir

from onnx_pare.quantization.placement import place

from .conftest import with_weights


def named(model: ir.Model) -> dict[str, ir.Value]:
    return ir.convenience.create_value_mapping(model.graph)


def owners(model: ir.Model) -> dict[str, str]:
    placement = place(model.graph)
    return {value.name or "": owner.name or "" for value, owner in placement.owner.items()}


RESIDUAL = """g (float[1, 4, 8, 8] x, float[4, 4, 3, 3] w) => (float[1, 4, 8, 8] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    r = Relu(a)
    b = Conv <pads = [1, 1, 1, 1]> (r, w)
    s = Add(b, r)
    t = Relu(s)
    m = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (t)
    y = Conv <pads = [1, 1, 1, 1]> (m, w)
}"""


def test_a_residual_block_is_integer_from_end_to_end():
    model = with_weights(RESIDUAL, w=(4, 4, 3, 3))
    placement = place(model.graph)
    assert [node.op_type for node in placement.axes] == ["Conv", "Conv", "Conv"]
    assert {node.op_type for node in placement.followers} == {"Add"}
    assert {node.op_type for node in placement.carriers} == {"MaxPool"}


def test_an_absorbed_activation_leaves_one_tensor_and_a_pool_shares_its_range():
    model = with_weights(RESIDUAL, w=(4, 4, 3, 3))
    assert owners(model) == {"x": "x", "r": "r", "b": "b", "t": "t", "m": "t", "y": "y"}


def test_float_outputs_of_gemm_and_matmul_stay_float():
    model = with_weights(
        "g (float[1, 8] x, float[8, 3] w) => (float[1, 3] y) { h = MatMul(x, w) y = Softmax(h) }", w=(8, 3)
    )
    assert owners(model) == {"x": "x"}


def test_a_follower_that_only_floats_read_stays_float():
    model = with_weights(
        "g (float[1, 4, 8, 8] x, float[4, 4, 1, 1] w) => (float[1, 4, 8, 8] y) "
        "{ a = Conv(x, w) y = Sigmoid(a) }",
        w=(4, 4, 1, 1),
    )
    assert not place(model.graph).followers


def test_operators_between_floats_are_left_alone():
    model = with_weights(
        """g (float[1, 4, 8, 8] x, float[4, 4, 1, 1] w) => (float[1, 4, 8, 8] y) {
            m = MaxPool <kernel_shape = [1, 1]> (x)
            s = Add(m, x)
            e = Exp(s)
            y = Conv(e, w)
        }""",
        w=(4, 4, 1, 1),
    )
    placement = place(model.graph)
    assert not placement.followers
    assert not placement.carriers


def test_skipped_nodes_and_what_hangs_on_them_stay_float():
    model = with_weights(RESIDUAL, w=(4, 4, 3, 3))
    convolutions = [node for node in model.graph if node.op_type == "Conv"]
    placement = place(model.graph, skipped=convolutions)
    assert not placement.owner
    last = place(model.graph, skipped=convolutions[2:])
    assert not last.carriers  # nobody takes the pool's integers any more


def test_a_relu_that_is_not_the_only_reader_is_not_absorbed():
    model = with_weights(
        """g (float[1, 4, 8, 8] x, float[4, 4, 1, 1] w) => (float[1, 4, 8, 8] y) {
            a = Conv(x, w)
            r = Relu(a)
            e = Exp(a)
            s = Mul(r, e)
            y = Conv(s, w)
        }""",
        w=(4, 4, 1, 1),
    )
    assert set(owners(model)) == {"x", "a", "s", "y"}
