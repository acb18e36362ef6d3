from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

CONV = "g (float[1,2,4,4] x, float[3,2,1,1] w, float[3] b) => (float[N,C,H,W] y) { y = Conv(x, w, b) }"


def test_weights_and_biases_are_parameters(counted: Any) -> None:
    weight = np.ones((3, 2, 1, 1), np.float32)
    weight[0, 0] = 0
    cost = counted(CONV, {"w": weight, "b": np.zeros(3, np.float32)})
    assert (cost.params, cost.nonzero_params, cost.weight_bytes) == (9, 5, 36)
    assert cost.rows[0].weight_sparsity == pytest.approx(1 / 6)  # biases aside
    assert cost.macs == 96
    assert cost.effective_macs == 80


def test_a_shared_tensor_counts_once(counted: Any) -> None:
    cost = counted(
        """g (int64[1,5] i, float[7,4] w) => (float[a,b,c] y) {
            h = Gather(w, i)
            t = Transpose(w)
            y = MatMul(h, t)
        }""",
        {"w": np.ones((7, 4), np.float32)},
    )
    assert cost.params == 28
    assert [row.params for row in cost.rows] == [28, 28]
    assert cost.macs == 5 * 7 * 4


def test_scales_shapes_and_scalars_are_no_parameters(counted: Any) -> None:
    cost = counted(
        """g (float[1,2,4,4] x) => (float[a,b,c,d] y)
        <float low = {0}, float high = {6}, float half = {0.5},
         float[4] s = {1, 1, 2, 2}, int64[2] shape = {1, -1}> {
            c = Clip(x, low, high)
            r = Resize(c, , s)
            y = Mul(r, half)
            flat = Reshape(y, shape)
        }"""
    )
    assert (cost.params, cost.weight_bytes) == (0, 0)


def test_a_single_slope_is_a_parameter(counted: Any) -> None:
    assert counted("g (float[2,3] x) => (float[2,3] y) <float[1] s = {0.1}> { y = PRelu(x, s) }").params == 1


def test_batch_norm_has_four_parameters_a_channel(counted: Any) -> None:
    text = """g (float[1,3,4,4] x) => (float[a,b,c,d] y)
    <float[3] s = {1,1,1}, float[3] b = {0,0,0}, float[3] m = {0,0,0}, float[3] v = {1,1,1}> {
        y = BatchNormalization(x, s, b, m, v)
    }"""
    cost = counted(text)
    assert (cost.params, cost.macs) == (12, 0)


def test_dequantized_weights_count_once_as_int8(counted: Any) -> None:
    weight = np.full((3, 2, 1, 1), 5, np.int8)
    weight[1] = 7
    weight[2, 1] = 9
    cost = counted(
        """g (float[1,2,4,4] x, int8[3,2,1,1] q) => (float[a,b,c,d] y)
        <float[3] s = {1,1,1}, int8[3] z = {5,6,9}> {
            w = DequantizeLinear <axis = 0> (q, s, z)
            y = Conv(x, w)
        }""",
        {"q": weight},
    )
    assert [row.op for row in cost.rows] == ["Conv"]  # the rest is folded
    assert (cost.params, cost.weight_bytes, cost.nonzero_params) == (6, 6, 3)
    assert cost.rows[0].weight_dtype == "int8"
    assert cost.rows[0].weight_sparsity == 0.5
    assert cost.effective_macs == cost.macs // 2


def test_quantized_operators_have_integer_weights(counted: Any) -> None:
    weight = np.array([[3, 4], [3, 4], [3, 5]], np.uint8)
    cost = counted(
        """g (uint8[1,3] x, float s, uint8 z, uint8[3,2] w, uint8[2] zw, float[2] sw) => (uint8[a,b] y) {
            y = QLinearMatMul(x, s, z, w, sw, zw, s, z)
        }""",
        {
            "w": weight,
            "s": np.float32(1) * np.ones((), np.float32),
            "z": np.zeros((), np.uint8),
            "zw": np.array([3, 4], np.uint8),
            "sw": np.ones(2, np.float32),
        },
    )
    assert (cost.params, cost.nonzero_params) == (6, 1)


def test_packed_weights(counted: Any) -> None:
    packed = np.full((5, 2, 16), 0x88, np.uint8)  # all at the zero point, 8
    packed[0, 0, 0] = 0x98  # the second weight of the first row
    packed[1, 1, 4] = 0x11  # beyond K in a row of 40
    text = """g (float[3,40] x, uint8[5,2,16] w, float[10] s) => (float[a,c] y) {
        y = com.microsoft.MatMulNBits <K = 40, N = 5, bits = 4, block_size = 32> (x, w, s)
    }"""
    cost = counted(text, {"w": packed, "s": np.ones(10, np.float32)})
    assert (cost.params, cost.nonzero_params, cost.weight_bytes) == (200, 1, 160)
    assert cost.rows[0].weight_dtype == "uint4"


def test_blockwise_zero_points(counted: Any) -> None:
    weight = np.array([[1, 1, 2, 2, 3, 9]], np.int8).T.copy()
    cost = counted(
        """g (float[2,6] x, int8[6,1] q) => (float[a,b] y) <float[3,1] s = {1,1,1}, int8[3,1] z = {1,2,3}> {
            w = DequantizeLinear <axis = 0, block_size = 2> (q, s, z)
            y = MatMul(x, w)
        }""",
        {"q": weight},
        opset=21,
    )
    assert (cost.params, cost.nonzero_params) == (6, 1)


def test_an_embedding_that_is_dequantized_after_the_lookup(counted: Any) -> None:
    cost = counted(
        """g (int64[1,5] i, uint8[7,4] q) => (float[a,b,c] y) <float s = {1}, uint8 z = {3}> {
            h = Gather(q, i)
            y = DequantizeLinear(h, s, z)
        }""",
        {"q": np.full((7, 4), 3, np.uint8)},
    )
    assert (cost.params, cost.nonzero_params, cost.weight_bytes) == (28, 0, 28)


def test_indices_are_no_parameters(counted: Any) -> None:
    cost = counted("g (int64[1,2] i) => (int64[a,b] y) <int64[3] t = {1,2,3}> { y = Gather(t, i) }")
    assert cost.params == 0


def test_constant_of_shape_is_a_weight_that_is_not_built(counted: Any) -> None:
    text = """g (float[1,100000] x) => (float[a,b] y) <int64[2] s = {100000, 1000000}> {
        w = ConstantOfShape <value = float[1] {0.01}> (s)
        y = MatMul(x, w)
    }"""
    cost = counted(text)  # 400 GB if it were built
    assert (cost.params, cost.nonzero_params) == (10**11, 10**11)
    assert cost.macs == 10**11
    assert counted(text.replace("0.01", "0.0")).nonzero_params == 0


def test_parts_joined_at_load_time_are_all_counted(counted: Any) -> None:
    cost = counted(
        """g (float[1,2] x, float[1,3] a, float[1,3] b) => (float[m,n] y) {
            w = Concat <axis = 0> (a, b)
            y = MatMul(x, w)
        }""",
        {"a": np.ones((1, 3), np.float32), "b": np.zeros((1, 3), np.float32)},
    )
    assert (cost.params, cost.nonzero_params) == (6, 3)


def test_initializers_that_are_also_inputs_are_weights(counted: Any) -> None:
    def make_input(model: ir.Model) -> None:
        model.graph.inputs.append(next(iter(model.graph.initializers.values())))

    weights = {"w": np.ones((3, 2, 1, 1), np.float32), "b": np.ones(3, np.float32)}
    assert counted(CONV, weights, edit=make_input).params == 9


def test_published_parameter_counts(shared: Any) -> None:
    """Differences to the manifest: it counts the limits of Clip, the scales of Resize, and scalar factors."""
    import json

    from onnx_pare.cost.count import count
    from onnx_pare.graph.load import load_model
    from onnx_pare.graph.shapes import infer, input_shapes

    given = {"nnsplit_en": {"input": (1, 100)}, "silero_vad_16k": {"input": (1, 576)}}
    no_params = {
        "mobilenet_v1_025_224_imagenet": 2,  # Clip
        "alibaba_mobilenet_cifar10": 34,  # Clip
        "ultraface_rfb320": 4,  # Mul with a scalar
        "fastestdet_coco": 4,  # scales of Resize
        "silero_vad_16k": 2,  # Pow with a scalar
        "basic_pitch": 6,  # Mul and others with a scalar
    }
    for entry in json.loads((shared / "models" / "manifest.json").read_text()):
        model = load_model(shared / entry["file"])
        cost = count(model, infer(model, input_shapes(model, given.get(entry["name"]))))
        assert cost.params == entry["params"] - no_params.get(entry["name"], 0), entry["name"]
        assert cost.uncounted == ()
