"""Half precision where it is safe: types fit on every edge, few casts, same numbers, same signature."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx.shape_inference
import onnx_ir as ir
import pytest
from pydantic import ValidationError

from onnx_pare.bench.latency import Latency
from onnx_pare.bench.paired import PairedLatency
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.errors import PassError, UsageError
from onnx_pare.graph.load import load_model
from onnx_pare.graph.protos import nodes
from onnx_pare.graph.save import serialize, write_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.signature import signature
from onnx_pare.graph.verify import problems
from onnx_pare.passes import quantize_fp16
from onnx_pare.passes.base import Context, Outcome
from onnx_pare.passes.quantize_fp16 import Options, QuantizeFp16
from onnx_pare.quantization import half_convert, halves

FREE = {"length": 24, "sequence": 512}


def random_weights(proto: onnx.ModelProto, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        array = (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return proto


def model(folder: Path, body: str, *, opset: int = 17, **shapes: tuple[int, ...]) -> ir.Model:
    """Load a model given as ONNX text from its signature on, with random weights."""
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g {body}'
    path = folder / "in.onnx"
    onnx.save(random_weights(onnx.parser.parse_model(text), **shapes), path)
    return load_model(path)


def convert(source: ir.Model, folder: Path, **options: Any) -> Outcome:
    shapes = {
        port.name: [d if isinstance(d, int) else FREE.get(str(d), 1) for d in port.shape or ()]
        for port in signature(source).inputs
    }
    samples = synthetic_samples(source, count=4, seed=0, shapes=shapes)
    return QuantizeFp16(Options(**options)).apply(source.clone(), Context(samples, folder))


def sqnr_db(before: Path, after: Path, source: ir.Model) -> float:
    shapes = {
        port.name: [d if isinstance(d, int) else FREE.get(str(d), 1) for d in port.shape or ()]
        for port in signature(source).inputs
    }
    old, new = Session(before), Session(after)
    noise, power = np.zeros(len(old.outputs)), np.zeros(len(old.outputs))
    for feeds in synthetic_samples(source, count=4, seed=1, shapes=shapes):
        for index, (a, b) in enumerate(zip(old.run(feeds), new.run(feeds), strict=True)):
            noise[index] += np.square(a.astype(np.float64) - b).sum()
            power[index] += np.square(a.astype(np.float64)).sum()
    return float((10 * np.log10((power + 1e-30) / (noise + 1e-30))).min())


def check_converts(source: ir.Model, folder: Path, *, db: float = 45.0, **options: Any) -> Outcome:
    """Convert and check everything that must hold of any converted model."""
    outcome = convert(source, folder, **options)
    assert outcome.changed
    before, after = folder / "before.onnx", folder / "after.onnx"
    write_model(source, before)
    write_model(outcome.model, after)
    assert problems(after, signature(source), signature(outcome.model)) == []
    proto = onnx.load(after)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    assert sqnr_db(before, after, source) > db
    casts = [node for node in nodes(proto) if node.op_type == "Cast" and "_to_fp" in node.name]
    assert len(casts) == outcome.notes["casts"]
    assert max(Counter(cast.input[0] for cast in casts).values(), default=0) <= 1
    made = {cast.output[0] for cast in casts}
    assert not any(cast.input[0] in made for cast in casts)
    assert serialize(convert(source, folder, **options).model) == serialize(outcome.model)
    assert convert(load_model(after), folder, **options).changed == 0
    return outcome


def check_untouched(source: ir.Model, folder: Path, **options: Any) -> Outcome:
    before = serialize(source)
    outcome = convert(source, folder, **options)
    assert outcome.changed == 0
    assert serialize(outcome.model) == before
    assert outcome.warnings
    return outcome


def types(made: ir.Model) -> dict[str, str]:
    """Return the element type of each tensor of the main graph, by name."""
    graph = onnx.shape_inference.infer_shapes(ir.to_proto(made)).graph
    return {
        value.name: onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


NET = """(float[N,3,8,8] x) => (float[N,4] y) {
    [first] a = Conv <pads=[1,1,1,1]> (x, w)
    [act] b = Relu(a)
    [second] c = Conv <pads=[1,1,1,1]> (b, v)
    d = Add(c, b)
    e = GlobalAveragePool(d)
    y = Flatten(e)
}"""
NET_WEIGHTS: dict[str, tuple[int, ...]] = {"w": (4, 3, 3, 3), "v": (4, 4, 3, 3)}


def test_whole_net_needs_two_casts(tmp_path: Path) -> None:
    outcome = check_converts(model(tmp_path, NET, **NET_WEIGHTS), tmp_path)
    assert outcome.notes["float16_nodes"] == 6
    assert outcome.notes["float32_nodes"] == 0
    assert outcome.notes["casts"] == 2
    assert outcome.notes["saved_bytes"] == (4 * 3 * 9 + 4 * 4 * 9) * 2
    assert outcome.notes["latency"]["kind"] == "measured"


def test_the_model_given_stays_as_it_is(tmp_path: Path) -> None:
    source = model(tmp_path, NET, **NET_WEIGHTS)
    before = serialize(source)
    convert(source, tmp_path)
    assert serialize(source) == before


def test_skip(tmp_path: Path) -> None:
    source = model(tmp_path, NET, **NET_WEIGHTS)
    outcome = check_converts(source, tmp_path, skip=["second"])
    assert outcome.notes["float32_reasons"]["skip"] == 1
    assert outcome.model.graph.initializers["v"].dtype == ir.DataType.FLOAT
    with pytest.raises(UsageError, match="matches no node"):
        convert(source, tmp_path, skip=["third"])
    assert check_untouched(source, tmp_path, skip=["op:*"]).notes["float32_reasons"] == {"skip": 6}


def test_large_activations_stay_float32(tmp_path: Path) -> None:
    body = """(float[2,16] x) => (float[2,16] y) <float[1] big = {1e5}, float[1] small = {1e-4}> {
        h = MatMul(x, w)
        up = Div(h, small)
        sq = Mul(up, up)
        down = Div(sq, big)
        z = Sqrt(down)
        y = MatMul(z, v)
    }"""
    outcome = check_converts(model(tmp_path, body, w=(16, 16), v=(16, 16)), tmp_path)
    assert types(outcome.model)["sq"] == "FLOAT"
    assert types(outcome.model)["h"] == "FLOAT16"
    assert outcome.notes["float32_reasons"]["activations too large"] >= 1
    assert outcome.notes["largest_activation"] > 65504


def test_margin_decides(tmp_path: Path) -> None:
    body = "(float[1,16] x) => (float[1,16] y) { h = MatMul(x, w) y = MatMul(h, w) }"
    source = model(tmp_path, body, w=(16, 16))
    assert check_converts(source, tmp_path, margin=10).notes["float32_nodes"] == 0
    scaled = source.graph.initializers["w"]
    assert scaled.const_value is not None
    scaled.const_value = ir.tensor(scaled.const_value.numpy() * 300, name="w")
    assert convert(source, tmp_path, margin=1000).changed == 0


@pytest.mark.parametrize(("step", "value"), [("Mul", "1e-9"), ("Add", "1e6")])
def test_weights_that_do_not_fit_stay_float32(step: str, value: str, tmp_path: Path) -> None:
    body = f"""(float[2,16] x) => (float[2,16] y) <float[1] k = {{{value}}}> {{
        h = MatMul(x, w)
        s = Abs(h)
        t = {step}(s, k)
        n = Div(t, k)
        y = MatMul(n, w)
    }}"""
    outcome = check_converts(model(tmp_path, body, w=(16, 16)), tmp_path, db=20)
    assert outcome.notes["float32_reasons"]["weights do not fit"] == 2
    assert outcome.model.graph.initializers["k"].dtype == ir.DataType.FLOAT


def test_a_weight_read_both_ways_exists_twice(tmp_path: Path) -> None:
    body = """(float[16,16] x) => (float[16,16] y, float[16,16] z) {
        y = MatMul(x, w)
        [other] z = MatMul(x, w)
    }"""
    outcome = check_converts(model(tmp_path, body, w=(16, 16)), tmp_path, skip=["other"])
    assert outcome.model.graph.initializers["w"].dtype == ir.DataType.FLOAT
    assert outcome.model.graph.initializers["w_fp16"].dtype == ir.DataType.FLOAT16
    assert outcome.notes["saved_bytes"] == -16 * 16 * 2


def test_weights_in_constant_nodes(tmp_path: Path) -> None:
    body = """(float[2,2] x) => (float[2,2] y) {
        w = Constant <value = float[2,2] {0.5, 1.5, -0.25, 1.0}> ()
        s = Constant <value_float = 3.0> ()
        h = MatMul(x, w)
        y = Mul(h, s)
    }"""
    assert check_converts(model(tmp_path, body), tmp_path).notes["float32_nodes"] == 0


def test_scales_of_resize_stay_float32(tmp_path: Path) -> None:
    body = """(float[1,3,8,8] x) => (float[1,4,16,16] y) <float[4] s = {1,1,2,2}> {
        a = Conv(x, w)
        b = Resize <mode="linear"> (a, , s)
        y = Relu(b)
    }"""
    outcome = check_converts(model(tmp_path, body, w=(4, 3, 1, 1)), tmp_path)
    assert outcome.model.graph.initializers["s"].dtype == ir.DataType.FLOAT
    assert outcome.notes["float32_nodes"] == 0


def test_choices_stay_float32(tmp_path: Path) -> None:
    body = """(float[1,16] x) => (float[1,4] v, int64[1,4] i, int64[1] a) <int64[1] k = {4}> {
        h = MatMul(x, w)
        v, i = TopK(h, k)
        a = ArgMax <axis=1, keepdims=0> (h)
    }"""
    outcome = check_converts(model(tmp_path, body, w=(16, 16)), tmp_path)
    assert outcome.notes["casts"] == 2  # x, and one for both readers of h
    assert outcome.notes["float32_reasons"] == {"operator ArgMax": 1, "operator TopK": 1}


def test_types_given_by_attributes(tmp_path: Path) -> None:
    body = """(float[2,16] x) => (float[2,16] y) {
        h = MatMul(x, w)
        m = Greater(h, x)
        f = Cast <to=1> (m)
        s = Shape(h)
        one = ConstantOfShape <value = float[1] {1.0}> (s)
        r = RandomUniformLike(h)
        zero = Sub(r, r)
        k = Mul(f, one)
        g = Add(k, zero)
        y = MatMul(g, w)
    }"""
    outcome = check_converts(model(tmp_path, body, w=(16, 16)), tmp_path)
    made = types(outcome.model)
    assert made["r"] == "FLOAT"
    assert made["f"] == made["one"] == "FLOAT16"  # 0 and 1, and a constant: written as halves


def test_positions_stay_float32(tmp_path: Path) -> None:
    body = """(float[1,2,length,4] x) => (float[1,2,length,4] y, int64[4] z) <float[1] two = {2.0}> {
        h = MatMul(x, w)
        y = MatMul(h, w)
        s = Shape(h)
        f = Cast <to=1> (s)
        d = Mul(f, two)
        z = Cast <to=7> (d)
    }"""
    outcome = check_converts(model(tmp_path, body, w=(4, 4)), tmp_path)
    assert types(outcome.model)["d"] == "FLOAT"


def test_branches_read_halves_and_give_float32(tmp_path: Path) -> None:
    """The synthetic samples only take the first branch."""
    body = """(float[2,16] x, bool c) => (float[2,16] y) {
        h = MatMul(x, w)
        p = If (c) <then_branch = t () => (float[2,16] a) { k = MatMul(h, w) a = Add(k, u) },
                    else_branch = e () => (float[2,16] b) { b = Sub(h, v) }>
        y = MatMul(p, w)
    }"""
    outcome = check_converts(model(tmp_path, body, w=(16, 16), u=(16,), v=(16,)), tmp_path)
    assert outcome.notes["float32_reasons"] == {"never ran on the samples": 1, "operator If": 1}
    assert outcome.notes["float16_nodes_in_subgraphs"] == 2
    assert outcome.notes["casts"] == 5  # x, h for the other branch, a, p, y
    assert outcome.model.graph.initializers["u"].dtype == ir.DataType.FLOAT16
    assert outcome.model.graph.initializers["v"].dtype == ir.DataType.FLOAT


def test_ranges_are_measured_inside_branches_and_loops(tmp_path: Path) -> None:
    body = """(float[16] x, bool c) => (float[16] y, float[2,16] s) <int64 n = {2}> {
        y, s = Loop (n, c, x) <body = b (int64 i, bool d, float[16] a) => (bool e, float[16] q, float[16] o) {
            e = Identity(d)
            q = MatMul(a, w)
            f = Mul(q, big)
            g = Abs(f)
            o = Div(g, big)
        }>
    }"""
    source = model(tmp_path, body, w=(16, 16), big=(1,))
    source.graph.initializers["big"].const_value = ir.tensor(np.array([6e4], np.float32), name="big")
    outcome = check_converts(source, tmp_path)
    assert outcome.notes["float32_reasons"]["activations too large"] == 3
    assert outcome.notes["float16_nodes_in_subgraphs"] == 1
    assert outcome.notes["largest_activation"] * 2 > 65504


def test_functions_are_inlined(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[2,16] x) => (float[2,16] y) { h = own.twice(x, w) y = own.twice(h, w) }
        <domain: "own", opset_import: ["" : 17]> twice (a, m) => (b) { k = MatMul(a, m) b = Relu(k) }"""
    onnx.save(random_weights(onnx.parser.parse_model(text), w=(16, 16)), tmp_path / "f.onnx")
    outcome = check_converts(load_model(tmp_path / "f.onnx"), tmp_path)
    assert outcome.notes["float16_nodes"] == 4
    assert not outcome.model.functions


def test_scan_stays_float32(tmp_path: Path) -> None:
    body = """(float[3,16] x, float[16] i) => (float[16] f, float[3,16] y) {
        h = MatMul(x, w)
        f, s = Scan <num_scan_inputs=1, body = b (float[16] st, float[16] e) => (float[16] so, float[16] o) {
            so = Add(st, e) o = Identity(so) }> (i, h)
        y = MatMul(s, w)
    }"""
    check_converts(model(tmp_path, body, w=(16, 16)), tmp_path)


@pytest.mark.parametrize("opset", [9, 14, 15])
def test_batch_norm_of_every_kind(opset: int, tmp_path: Path) -> None:
    body = """(float[1,3,8,8] x) => (float[1,3,8,8] y)
        <float[3] s = {1,2,3}, float[3] m = {0.5,0.1,0.2}, float[3] v = {1,0.5,2}> {
        a = Conv(x, w)
        y = BatchNormalization(a, s, m, m, v)
    }"""
    outcome = check_converts(model(tmp_path, body, opset=opset, w=(3, 3, 1, 1)), tmp_path)
    assert outcome.notes["float32_nodes"] == 0


def test_statistics_of_layer_norm_stay_float32(tmp_path: Path) -> None:
    body = """(float[2,16] x) => (float[2,16] y, float[2,1] m) {
        h = MatMul(x, w)
        y, m = LayerNormalization(h, u)
    }"""
    check_converts(model(tmp_path, body, w=(16, 16), u=(16,)), tmp_path)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_recurrent_nets(op: str, tmp_path: Path) -> None:
    gates = {"LSTM": 4, "GRU": 3}[op]
    body = f"(float[5,1,8] x) => (float[5,1,1,4] y) {{ y = {op} <hidden_size=4> (x, w, r) }}"
    check_converts(model(tmp_path, body, w=(1, 4 * gates, 8), r=(1, 4 * gates, 4)), tmp_path)


def test_outputs_read_inside_keep_their_name(tmp_path: Path) -> None:
    body = "(float[16,16] x) => (float[16,16] h, float[16,16] y) { h = MatMul(x, w) y = MatMul(h, w) }"
    outcome = check_converts(model(tmp_path, body, w=(16, 16)), tmp_path)
    assert outcome.notes["casts"] == 3
    assert [value.name for value in outcome.model.graph.outputs] == ["h", "y"]


def test_weights_that_callers_override_get_a_cast(tmp_path: Path) -> None:
    body = """(float[1,2] x, float[2,2] w) => (float[1,2] y)
        <float[2,2] w = {1,2,3,4}, float[2,2] v = {1,2,3,4}> {
        h = MatMul(x, w)
        y = MatMul(h, v)
    }"""
    outcome = check_converts(model(tmp_path, body), tmp_path)
    assert outcome.notes["casts"] == 3
    assert [value.name for value in outcome.model.graph.inputs] == ["x", "w"]


def test_nothing_to_gain(tmp_path: Path) -> None:
    body = "(float[2,16] x) => (float[2,16] y) { h = Relu(x) y = Sigmoid(h) }"
    outcome = check_untouched(model(tmp_path, body), tmp_path)
    assert outcome.notes["float32_reasons"] == {"no matrix product near": 2}


def test_light_nodes_that_only_cost_casts_stay_float32(tmp_path: Path) -> None:
    body = """(float[4,16] x) => (float[2,16] a, float[2,16] b, float[4,16] c) {
        h = MatMul(x, w)
        t = Identity(h)
        a, b = Split <axis=0> (t)
        c = Neg(t)
    }"""
    outcome = check_converts(model(tmp_path, body, opset=13, w=(16, 16)), tmp_path)
    assert outcome.notes["casts"] == 2
    assert outcome.notes["float32_reasons"] == {"saves casts": 2}


def test_low_precision_models_are_left_alone(tmp_path: Path) -> None:
    quantized = """(float[2] x) => (float[2] y) <float s = {0.1}, uint8 z = {0}> {
        q = QuantizeLinear(x, s, z)
        y = DequantizeLinear(q, s, z)
    }"""
    assert "is quantized already" in check_untouched(model(tmp_path, quantized), tmp_path).warnings[0]
    half = "(float[2] x) => (float[2] y) { h = Cast <to=10> (x) r = Relu(h) y = Cast <to=1> (r) }"
    assert "holds half precision already" in check_untouched(model(tmp_path, half), tmp_path).warnings[0]


@pytest.mark.parametrize(("dtype", "db"), [("fp16", 55.0), ("bf16", 38.0)])
@pytest.mark.parametrize("opset", [9, 17])
def test_storage_only(dtype: str, db: float, opset: int, tmp_path: Path) -> None:
    source = model(tmp_path, NET, opset=opset, **NET_WEIGHTS)
    outcome = check_converts(source, tmp_path, db=db, storage_only=True, dtype=dtype)
    assert outcome.changed == outcome.notes["casts"] == 2
    assert outcome.notes["saved_bytes"] == (4 * 3 * 9 + 4 * 4 * 9) * 2
    kinds = Counter(node.op_type for node in outcome.model.graph)
    assert kinds["Cast"] == 2


def test_storage_only_leaves_small_odd_and_skipped_weights(tmp_path: Path) -> None:
    source = model(tmp_path, NET, **NET_WEIGHTS)
    outcome = check_converts(source, tmp_path, storage_only=True, skip=["second"])
    assert set(outcome.model.graph.initializers) == {"w_fp16", "v"}
    check_untouched(source, tmp_path, storage_only=True, min_elements=1000)


def test_storage_of_constant_nodes(tmp_path: Path) -> None:
    body = """(float[2,2] x) => (float[2,2] y) {
        w = Constant <value = float[2,2] {0.5, 1.5, -0.25, 1.0}> ()
        y = MatMul(x, w)
    }"""
    outcome = check_converts(model(tmp_path, body), tmp_path, storage_only=True, min_elements=4)
    assert [node.op_type for node in outcome.model.graph] == ["Cast", "MatMul"]


def test_bf16_compute_is_refused_by_the_recipe() -> None:
    with pytest.raises(ValidationError, match="needs storage_only"):
        Options(dtype="bf16")


@pytest.mark.parametrize(
    ("message", "refused", "reason"),
    [("Could not find an implementation for Relu(14)", ["Relu"], "operator Relu"),
     ("crashed (SIGSEGV)", ["act"], "refused by onnxruntime")],
)  # fmt: skip
def test_what_onnxruntime_refuses_stays_float32(
    message: str, refused: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once by a message that names the operator, once by a crash that names none."""

    def refusal(made: ir.Model, scratch: Path) -> str:
        return message if types(made)["b"] == "FLOAT16" else ""

    monkeypatch.setattr(half_convert, "refusal", refusal)
    outcome = convert(model(tmp_path, NET, **NET_WEIGHTS), tmp_path)
    assert outcome.notes["refused_by_onnxruntime"] == refused
    assert outcome.notes["float32_reasons"][reason] == 1


@pytest.mark.parametrize("options", [{}, {"storage_only": True}])
def test_what_never_loads_is_not_returned(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half_convert, "refusal", lambda made, scratch: "crashed (SIGSEGV)")
    with pytest.raises(PassError, match="crashed"):
        convert(model(tmp_path, NET, **NET_WEIGHTS), tmp_path, **options)


def test_an_edge_with_two_types_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With casts that are forgotten, as a bug would."""
    monkeypatch.setattr(halves, "casts", lambda value, plan: 0)
    with pytest.raises(PassError, match=r"edge 'w' is float16, but other edges of node 'first' \(Conv\) are"):
        convert(model(tmp_path, NET, **NET_WEIGHTS), tmp_path)


@pytest.mark.parametrize(
    ("interval", "said"), [((0.4, 0.6), "SLOWER"), ((0.8, 1.2), "no faster"), ((1.1, 1.3), "")]
)
def test_speed_is_said_plainly(interval: tuple[float, float], said: str) -> None:
    one = Latency(median_ms=1.0, p90_ms=1.0, interval_ms=(1.0, 1.0), runs=3, threads=1)
    pair = PairedLatency(one, one, speedup=sum(interval) / 2, interval=interval, runs=3, threads=1)
    warnings = quantize_fp16._warnings(pair)
    assert [said in warning and "storage_only" in warning for warning in warnings] == [True] * bool(said)


REAL = {
    "resnet20_cifar10": 60, "mobilenet_v1_025_224_imagenet": 30, "silero_vad_16k": 36, "nnsplit_en": 60,
    "dtln_1": 60, "alibaba_mobilenet_cifar10": 40, "basic_pitch": 28, "ultraface_rfb320": 60,
}  # fmt: skip


@pytest.mark.parametrize(("name", "db"), REAL.items())
def test_real_models(name: str, db: float, shared: Path, tmp_path: Path) -> None:
    check_converts(load_model(shared / "models" / f"{name}.onnx"), tmp_path, db=db)
