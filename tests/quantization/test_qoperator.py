"""The QOperator form computes what the pairs compute, in onnxruntime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.errors import UsageError
from onnx_pare.graph.edit import add_initializer, constant, set_constant
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.signature import signature
from onnx_pare.graph.verify import problems
from onnx_pare.quantization import kernels
from onnx_pare.quantization.qoperator import PAIRED, Converted, to_qoperator
from onnx_pare.quantization.qoperator_forms import FORMS

from .conftest import with_weights
from .test_kernels import ANCHORED, BETWEEN, CARRIED, CHANNELS, between

Quantize = Callable[..., ir.Model]
Check = Callable[[ir.Model], ir.Model]
PAIRS = {"QuantizeLinear", "DequantizeLinear"}


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def signed(model: ir.Model) -> ir.Model:
    """Hold uint8 tensors as int8: zero points and constants 128 lower, which changes no real number."""
    for value in model.graph.initializers.values():
        array = constant(value)
        if array is not None and array.dtype == np.uint8:
            set_constant(value, (array.astype(np.int16) - 128).astype(np.int8))
    for node in model.graph:
        for value in node.outputs:
            if value.dtype == ir.DataType.UINT8:
                value.type = ir.TensorType(ir.DataType.INT8)
    return model


def outputs(model: ir.Model, path: Path) -> list[Any]:
    write_model(model, path)
    session = Session(path)
    return [array for feeds in synthetic_samples(model, count=3, seed=1) for array in session.run(feeds)]


@pytest.fixture
def converted(tmp_path: Path) -> Check:
    """Return a function that converts a model with pairs and holds the result against it."""

    def convert(pairs: ir.Model) -> ir.Model:
        model = pairs.clone()
        to_qoperator(model)
        expected = outputs(pairs, tmp_path / "pairs.onnx")
        for a, b in zip(expected, outputs(model, tmp_path / "operators.onnx"), strict=True):
            np.testing.assert_allclose(b, a, rtol=0, atol=max(float(np.ptp(a)) / 255, 1e-6))
        assert problems(tmp_path / "operators.onnx", signature(pairs), signature(model)) == []
        return model

    return convert


def test_every_operator_of_the_placement_has_a_form():
    written_as_others = {"HardSigmoid", "HardSwish"}
    assert set(FORMS) | written_as_others == set(kernels.ANCHORS) | set(kernels.FOLLOWERS)


@pytest.mark.parametrize("hold", [lambda model: model, signed], ids=["uint8", "int8"])
@pytest.mark.parametrize("op", BETWEEN)
def test_followers_become_integer_operators(
    op: str, hold: Callable[[ir.Model], ir.Model], quantized: Quantize, converted: Check
):
    body, kernel = BETWEEN[op]
    found = operators(converted(hold(quantized(between(body, CHANNELS.get(op, 8))))))
    assert found[kernel] == 1
    assert found["QLinearConv"] == (3 if op in ("Add", "Mul", "Concat") else 2)
    assert (found["QuantizeLinear"], found["DequantizeLinear"]) == (1, 1)


@pytest.mark.parametrize("hold", [lambda model: model, signed], ids=["uint8", "int8"])
@pytest.mark.parametrize("op", CARRIED)
def test_carriers_move_integers(
    op: str, hold: Callable[[ir.Model], ir.Model], quantized: Quantize, converted: Check
):
    found = operators(converted(hold(quantized(between(CARRIED[op], CHANNELS.get(op, 8))))))
    pairs = 2 if op in PAIRED else 1
    assert found["QLinearConv"] == 2
    assert (found["QuantizeLinear"], found["DequantizeLinear"]) == (pairs, pairs)


@pytest.mark.parametrize("hold", [lambda model: model, signed], ids=["uint8", "int8"])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("form", ANCHORED)
def test_anchors_become_integer_operators(
    form: str,
    per_channel: bool,
    hold: Callable[[ir.Model], ir.Model],
    quantized: Quantize,
    converted: Check,
):
    body, shape, _ = ANCHORED[form]
    channels = shape[1] if len(shape) == 2 and form != "Gemm transposed" else shape[0]
    model = with_weights(
        f"g (float[1, 4, 8, 8] x, float[{', '.join(map(str, shape))}] w, float[{channels}] b) "
        f"=> (float[{'p, q' if 'Flatten' in body else 'p, q, r, s'}] y) {{ {body} }}",
        w=shape,
        b=(channels,),
    )
    found = operators(converted(hold(quantized(model, per_channel=per_channel))))
    # MatMulIntegerToFloat makes floats, so that a Relu has work to do
    left = {"Relu"} if found["MatMulIntegerToFloat"] else set[str]()
    assert not found.keys() & ({"Conv", "Gemm", "MatMul", "Relu", "Clip", "Add"} - left)
    assert found["QuantizeLinear"] == 1 + len(left & found.keys())


DENSE = {
    "QGemm": "f = Flatten(x) m = MatMul(f, w) h = Add(m, b) r = Relu(h) y = MatMul(r, v)",
    "QLinearMatMul": "h = MatMul(x, w) r = Relu(h) y = MatMul(r, v)",
    "MatMulIntegerToFloat": "m = MatMul(x, w) h = Add(b, m) r = Relu(h) y = MatMul(r, v)",
}


@pytest.mark.parametrize("hold", [lambda model: model, signed], ids=["uint8", "int8"])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("kernel", DENSE)
def test_a_matmul_takes_the_form_that_holds_its_bias(
    kernel: str,
    per_channel: bool,
    hold: Callable[[ir.Model], ir.Model],
    quantized: Quantize,
    converted: Check,
):
    shape = "2, 8" if kernel == "QGemm" else "2, 3, 8"
    model = with_weights(
        f"g (float[{shape}] x, float[8, 16] w, float[16] b, float[16, 5] v) "
        f"=> (float[{'p, q' if kernel == 'QGemm' else 'p, q, r'}] y) "
        f"{{ {DENSE[kernel]} }}",
        w=(8, 16),
        b=(16,),
        v=(16, 5),
    )
    found = operators(converted(hold(quantized(model, per_channel=per_channel))))
    assert found["MatMulIntegerToFloat"] == (2 if kernel == "MatMulIntegerToFloat" else 1)
    assert found[kernel] >= 1
    assert not found.keys() & {"MatMul", "Add"}


def test_pairs_remain_where_floats_begin_and_end(quantized: Quantize, converted: Check):
    model = with_weights(
        """g (float[1, 4, 8, 8] x, float[4, 4, 3, 3] v, float[4, 4, 3, 3] w) => (float[1, 4, 4, 4] y) {
            a = Conv(x, v)
            t = Tanh(a)
            y = Conv(t, w)
        }""",
        v=(4, 4, 3, 3),
        w=(4, 4, 3, 3),
    )
    assert operators(converted(quantized(model))) == {
        "QuantizeLinear": 2,
        "QLinearConv": 2,
        "DequantizeLinear": 2,
        "Tanh": 1,
    }


def two_convolutions() -> ir.Model:
    return with_weights(
        """g (float[1, 4, 8, 8] x, float[4, 4, 3, 3] v, float[4, 4, 3, 3] w) => (float[1, 4, 4, 4] y) {
            a = Conv(x, v)
            r = Relu(a)
            y = Conv(r, w)
        }""",
        v=(4, 4, 3, 3),
        w=(4, 4, 3, 3),
    )


def test_a_relu_whose_work_the_range_does_not_do_keeps_its_pairs(quantized: Quantize, converted: Check):
    model = quantized(two_convolutions())
    raised = add_initializer(model.graph, "raised", np.asarray(np.uint8(30)))
    for node in [node for node in model.graph if node.name and "r_" in node.name and node.op_type in PAIRS]:
        node.replace_input_with(2, raised)
    found = operators(converted(model))
    assert (found["Conv"], found["Relu"], found["QLinearConv"]) == (1, 1, 1)


def dequantizer(model: ir.Model, place: int) -> ir.Node:
    """Return the DequantizeLinear before an input of the first convolution."""
    conv = next(node for node in model.graph if node.op_type == "Conv")
    value = conv.inputs[place]
    assert value is not None
    node = value.producer()
    assert node is not None
    return node


def other_axis(model: ir.Model) -> None:
    dequantizer(model, 1).attributes["axis"] = ir.AttrInt64("axis", 1)


def zero_point(model: ir.Model, node: ir.Node, dtype: type[np.integer[Any]]) -> ir.Value:
    """Give a node a zero point of its own."""
    old = constant(node.inputs[2])
    assert old is not None
    zero = add_initializer(model.graph, "own_zero_point", np.zeros(old.shape, dtype))
    node.replace_input_with(2, zero)
    return zero


def wide_weights(model: ir.Model) -> None:
    node = dequantizer(model, 1)
    weight = constant(node.inputs[0])
    assert node.inputs[0] is not None
    assert weight is not None
    set_constant(node.inputs[0], weight.astype(np.int16))
    zero_point(model, node, np.int16)


def other_type_out(model: ir.Model) -> None:
    node = dequantizer(model, 0)
    node.predecessors()[0].replace_input_with(2, zero_point(model, node, np.int8))


@pytest.mark.parametrize("change", [other_axis, wide_weights, other_type_out])
def test_what_has_no_form_is_counted(change: Callable[[ir.Model], None], quantized: Quantize):
    model = quantized(two_convolutions())
    change(model)
    assert to_qoperator(model) == Converted(Counter({"QLinearConv": 1}), Counter({"Conv": 1}))


def test_16_bit_activations_are_refused(quantized: Quantize):
    model = quantized(two_convolutions())
    zero_point(model, next(node for node in model.graph if node.op_type == "QuantizeLinear"), np.uint16)
    with pytest.raises(UsageError, match=r"activation '.*' has 16 bits"):
        to_qoperator(model)


def test_outputs_keep_their_names_where_floats_leave(quantized: Quantize, converted: Check):
    model = with_weights(
        "g (float[N, 8] x, float[8, 4] w, float[4] b) => (float[N, 4] y) { y = Gemm(x, w, b) }",
        w=(8, 4),
        b=(4,),
    )
    result = converted(quantized(model))
    assert [(node.domain, node.op_type) for node in result.graph] == [
        ("", "QuantizeLinear"),
        ("com.microsoft", "QGemm"),
    ]
    assert result.graph.opset_imports["com.microsoft"] == 1


@pytest.mark.parametrize(
    "name",
    [
        "alibaba_mobilenet_cifar10",
        "fastestdet_coco",
        "mlperf_tiny_kws_dscnn",
        "mlperf_tiny_resnet8_cifar10",
        "resnet20_cifar10",
        "ultraface_rfb320",
    ],
)
def test_real_models_agree(name: str, shared: Path, quantized: Quantize, converted: Check):
    pairs = quantized(load_model(shared / "models" / f"{name}.onnx"))
    found = operators(converted(pairs))
    assert found["Conv"] == 0
    assert found["QuantizeLinear"] == 1
