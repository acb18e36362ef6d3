"""annotate_relu_sparsity on whole nets, float and quantized: every number held against numpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration.collect import exposed
from onnx_pare.calibration.data import open_samples
from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.cost.count import Cost, count
from onnx_pare.graph.edit import add_initializer, constant
from onnx_pare.graph.load import load_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.shapes import infer, input_shapes
from onnx_pare.passes.annotate_relu_sparsity import AnnotateReluSparsity
from onnx_pare.passes.base import Context
from onnx_pare.passes.quantize_int8 import QuantizeInt8
from onnx_pare.sparsity.metadata import read_input, read_negatives, read_zeros

MakeContext = Callable[..., Context]

# AlexNet's order of layers, strides, groups and pools, at a tenth of its width
ALEXNET = """g (float[N,3,67,67] x) => (float[N,10] y) {
   c1 = Conv <strides = [4, 4]> (x, w1, b1)  r1 = Relu (c1)  n1 = LRN <size = 5> (r1)
   p1 = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (n1)
   c2 = Conv <pads = [2, 2, 2, 2], group = 2> (p1, w2, b2)  r2 = Relu (c2)
   p2 = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (r2)
   c3 = Conv <pads = [1, 1, 1, 1]> (p2, w3, b3)  r3 = Relu (c3)
   c4 = Conv <pads = [1, 1, 1, 1], group = 2> (r3, w4, b4)  r4 = Relu (c4)
   f = Flatten (r4)
   g6 = Gemm <transB = 1> (f, w6, b6)  r6 = Relu (g6)
   y = Gemm <transB = 1> (r6, w8, b8)
}"""
# shape of a layer's weight, and how many standard deviations its bias lies above zero: the share of zeros
LAYERS = {
    1: ((10, 3, 11, 11), 0.8),
    2: ((16, 5, 5, 5), -0.3),
    3: ((24, 16, 3, 3), 0.0),
    4: ((16, 12, 3, 3), -0.2),
    6: ((32, 16 * 3 * 3), -0.3),
    8: ((10, 32), 0.0),
}


def alexnet() -> ir.Model:
    rng = np.random.default_rng(0)
    model = ir.from_onnx_text(f'<ir_version: 8, opset_import: ["": 17]> {ALEXNET}')
    unknown = {value.name: value for node in model.graph for value in node.inputs if value is not None}
    for number, (shape, lift) in LAYERS.items():
        weight = (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        bias = rng.normal(lift, 0.2, shape[0]).astype(np.float32)
        for name, array in ((f"w{number}", weight), (f"b{number}", bias)):
            unknown[name].replace_all_uses_with(add_initializer(model.graph, f"{name}_", array))
    for node in model.graph:
        node.name = node.outputs[0].name
    return model


def looked_at(model: ir.Model, names: list[str], setting: Context) -> dict[str, Any]:
    """Return what these tensors hold over all samples."""
    with exposed(model, names, setting.scratch) as path:
        session = Session(path)
        batches = [session.run(feeds, names) for feeds in setting.samples]
    return {name: np.concatenate(arrays) for name, *arrays in zip(names, *batches, strict=True)}


def cost(model: ir.Model) -> Cost:
    return count(model, infer(model, input_shapes(model)))


def test_what_each_layer_of_an_alexnet_reads(context: MakeContext) -> None:
    model = alexnet()
    setting = context(model, count=20)
    outcome = AnnotateReluSparsity().apply(model, setting)
    readers = {node.name: node for node in model.graph if node.op_type in ("Conv", "Gemm")}
    inputs = {name: str(node.inputs[0].name) for name, node in readers.items() if node.inputs[0]}
    arrays = looked_at(model, [name for name in inputs.values() if name != "x"], setting)
    for name, node in readers.items():
        share = read_input(node, 0)
        assert share is not None
        if name == "c1":
            assert share.fraction == 0
            continue
        zero = arrays[inputs[name]] == 0
        assert share.fraction == pytest.approx(zero.mean(), abs=1e-6)
        others = tuple(axis for axis in range(zero.ndim) if axis != 1)
        assert share.per_channel == pytest.approx(zero.mean(axis=others), abs=1e-4)
    noted = {entry["node"]: entry["input_zero_fraction"] for entry in outcome.notes["layers"]}
    assert noted == {name: pytest.approx(read_input(node, 0).fraction) for name, node in readers.items()}  # type: ignore[union-attr]


def test_feature_maps_of_an_alexnet(context: MakeContext) -> None:
    model = alexnet()
    setting = context(model, count=20)
    outcome = AnnotateReluSparsity().apply(model, setting)
    relus = [node for node in model.graph if node.op_type == "Relu"]
    arrays = looked_at(model, [str(node.name) for node in relus], setting)
    for node, entry in zip(relus, outcome.notes["activations"], strict=True):
        zero, zeros = arrays[node.name or ""] == 0, read_zeros(node)
        samples = zero.reshape(20, -1).mean(axis=1)
        dead = np.flatnonzero(zero.reshape(*zero.shape[:2], -1).all(axis=(0, 2)))
        assert zeros is not None
        assert (zeros.p10, zeros.p90) == pytest.approx(np.quantile(samples, (0.1, 0.9)), abs=1e-3)
        assert zeros.dead_channels == tuple(dead)
        assert entry == {"node": node.name, "op": "Relu", **zeros.facts("zero_fraction")}
        assert sum(entry["histogram"]) == zero.shape[1]
    # the span that is reported of AlexNet itself, 19 to 63 %
    fractions = [entry["zero_fraction"] for entry in outcome.notes["activations"]]
    assert 0.1 < min(fractions) < 0.3
    assert 0.55 < max(fractions) < 0.75


def test_macs_of_an_alexnet_that_skips_zeros(context: MakeContext) -> None:
    model = alexnet()
    w6 = model.graph.initializers["w6_"]
    pruned = constant(w6).copy()  # type: ignore[union-attr]
    pruned[:, ::2] = 0
    w6.const_value = ir.tensor(pruned, name="w6_")
    setting = context(model, count=20)
    notes = AnnotateReluSparsity().apply(model, setting).notes
    rows = {row.name: row for row in cost(model).rows}
    kept = looked_at(model, ["f"], setting)["f"] != 0
    assert rows["g6"].effective_macs == pytest.approx(32 * kept[:, 1::2].sum() / 20, rel=1e-3)
    p2 = looked_at(model, ["p2"], setting)["p2"]
    assert rows["c3"].effective_macs == pytest.approx((rows["c3"].macs or 0) * (p2 != 0).mean(), abs=1)
    total, left = notes["macs"], notes["effective_macs"]
    assert (total, left) == (cost(model).macs, cost(model).effective_macs)
    assert notes["saved_by_skipping"]["both"] == pytest.approx(1 - left / total, abs=1e-6)
    assert notes["saved_by_skipping"]["zero_weights"] == pytest.approx(16 * 144 / total, abs=1e-6)
    assert left < notes["nonzero_activation_macs"] < notes["nonzero_weight_macs"] < total


def int8(model: ir.Model, setting: Context, form: str) -> ir.Model:
    options = {"select": "all", "min_sqnr_db": None, "round": "nearest", "equalize": False, "format": form}
    return QuantizeInt8(QuantizeInt8.Options.model_validate(options)).apply(model, setting).model


def dropped_relus(model: ir.Model) -> ir.Model:
    """Return the model without its Relus, where an integer range does their work."""
    for node in list(model.graph):
        source = node.inputs[0] if node.inputs else None
        readers = node.outputs[0].consumers()
        if node.op_type == "Relu" and source is not None and readers[0].op_type == "QuantizeLinear":
            node.outputs[0].replace_all_uses_with(source)
            model.graph.remove(node, safe=True)
    return model


@pytest.mark.parametrize("form", ["qdq", "absorbed", "qoperator"])
def test_quantized_zeros_are_where_the_zero_point_is(form: str, context: MakeContext) -> None:
    model = alexnet()
    setting = context(model, count=8)
    made = int8(model, setting, "qoperator" if form == "qoperator" else "qdq")
    if form == "absorbed":
        made = dropped_relus(made)
        assert not any(node.op_type == "Relu" and node.name != "r1" for node in made.graph)
    AnnotateReluSparsity().apply(made, setting)
    dequantized = {
        str(node.inputs[0].name): node
        for node in made.graph
        if node.op_type == "DequantizeLinear" and node.inputs[0] is not None
    }
    found = [(node, zeros) for node in made.graph if (zeros := read_zeros(node)) is not None]
    assert len(found) == 5
    for node, zeros in found:
        reader = node.outputs[0].consumers()[0]
        tensor = reader.outputs[0] if reader.op_type == "QuantizeLinear" else node.outputs[0]
        if form == "qoperator":
            array = looked_at(made, [str(tensor.name)], setting)[str(tensor.name)]
            expected = array == (0 if array.dtype.kind == "u" or array.dtype.kind == "f" else -128)
        else:
            back = dequantized.get(str(tensor.name))
            name = str(back.outputs[0].name if back else tensor.name)
            expected = looked_at(made, [name], setting)[name] == 0
        assert zeros.fraction == pytest.approx(expected.mean(), abs=1e-6)
        assert len(zeros.dead_channels) == expected.all(axis=(0, *range(2, expected.ndim))).sum()


def test_both_quantized_forms_say_the_same(context: MakeContext) -> None:
    model = alexnet()
    setting = context(model, count=8)
    saved = []
    for form in ("qdq", "qoperator"):
        notes = AnnotateReluSparsity().apply(int8(model.clone(), setting, form), setting).notes
        saved.append((notes["zero_fraction"], *notes["saved_by_skipping"].values()))
    assert saved[0] == pytest.approx(saved[1], abs=2e-3)


def test_zeros_quantized_at_run_time_are_those_of_the_floats(context: MakeContext) -> None:
    model = alexnet()
    setting = context(model)
    dynamic = QuantizeInt8(QuantizeInt8.Options(mode="dynamic")).apply(model.clone(), setting).model
    AnnotateReluSparsity().apply(model, setting)
    AnnotateReluSparsity().apply(dynamic, setting)
    expected = [read_input(node, 0) for node in model.graph if node.op_type == "Gemm"]
    assert [read_input(node, 0) for node in dynamic.graph if node.op_type == "MatMulInteger"] == expected


def test_slopes_have_a_negative_share_that_saves_nothing(context: MakeContext) -> None:
    model = ir.from_onnx_text("""<ir_version: 8, opset_import: ["": 17]>
      g (float[N,3,4] x) => (float[N,3,4] y) <float[3,1] slope = {0.1, 0.2, -0.3},
       float[3,1] shift = {9, -9, 0}>
      { a = Add (x, shift)  l = LeakyRelu (a)  p = PRelu (a, slope)  y = Add (l, p) }""")
    setting = context(model, count=6)
    outcome = AnnotateReluSparsity().apply(model, setting)
    x = np.concatenate([feeds["x"] for feeds in setting.samples])
    leaky, prelu = (read_negatives(node) for node in model.graph if "Relu" in node.op_type)
    assert leaky is not None
    assert leaky == prelu
    assert leaky.per_channel == pytest.approx((0, 1, (x[:, 2] < 0).mean()), abs=1e-4)
    assert not any(read_zeros(node) for node in model.graph)
    assert [entry["op"] for entry in outcome.notes["negative_shares"]] == ["LeakyRelu", "PRelu"]
    assert (outcome.notes["activations"], outcome.notes["zero_fraction"]) == ([], 0)
    assert outcome.changed == 2


@pytest.mark.parametrize(
    ("name", "data"), [("resnet20_cifar10", "cifar10"), ("mlperf_tiny_kws_dscnn", "kws")]
)
def test_real_models_on_real_data(name: str, data: str, shared: Path, tmp_path: Path) -> None:
    model = load_model(shared / "models" / f"{name}.onnx")
    path = shared / "data" / f"{data}_calibration.npz"
    preprocess = PRESETS["imagenet"] if data == "cifar10" else None
    setting = Context(open_samples(path, model, preprocess=preprocess, limit=24), tmp_path)
    notes = AnnotateReluSparsity().apply(model, setting).notes
    relus = [node for node in model.graph if node.op_type == "Relu"]
    arrays = looked_at(model, [str(node.outputs[0].name) for node in relus], setting)
    for node in relus:
        zeros, zero = read_zeros(node), arrays[str(node.outputs[0].name)] == 0
        assert zeros is not None
        assert zeros.fraction == pytest.approx(zero.mean(), abs=1e-6)
        spread = np.quantile(zero.reshape(len(zero), -1).mean(axis=1), (0.1, 0.9))
        assert (zeros.p10, zeros.p90) == pytest.approx(spread, abs=1e-3)
    assert 0.3 < notes["saved_by_skipping"]["zero_activations"] < 0.7
    assert AnnotateReluSparsity().apply(model, setting).changed == 0
