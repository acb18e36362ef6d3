from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.bench.fidelity import compare
from onnx_pare.calibration.data import open_samples
from onnx_pare.calibration.labelled import open_labelled
from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.errors import UsageError
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.hw_profiles import cpu
from onnx_pare.passes.base import Context, Outcome
from onnx_pare.passes.quantize_int8 import QuantizeInt8
from onnx_pare.quantization import contest
from onnx_pare.quantization.sensitivity import Limit
from onnx_pare.quantization.static import Wish

Check = Callable[..., Outcome]
HEADER = '<ir_version: 8, opset_import: ["": 17]>'
NOTHING_TO_DO = f"{HEADER} g (float[N, 4] x) => (float[N, 4] y) {{ y = Relu(x) }}"


def int8(**options: object) -> QuantizeInt8:
    """Return the pass, without choices that depend on speed."""
    given = {"select": "all", "min_sqnr_db": None, **options}
    return QuantizeInt8(QuantizeInt8.Options.model_validate(given))


def mlp(opset: int = 17) -> ir.Model:
    model = ir.from_onnx_text(
        f"""<ir_version: 8, opset_import: ["": {opset}]>
        g (float[N, 8] x) => (float[N, 3] y) {{ h = MatMul(x, w) y = Add(h, b) }}"""
    )
    values = ir.convenience.create_value_mapping(model.graph)
    rng = np.random.default_rng(0)
    for name, shape in (("w", (8, 3)), ("b", (3,))):
        values[name].const_value = ir.tensor(rng.normal(size=shape).astype(np.float32), name=name)
        model.graph.register_initializer(values[name])
    for index, node in enumerate(model.graph):
        node.name = f"{node.op_type}_{index}"
    return model


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_nothing_to_quantize_leaves_the_model_untouched_and_says_so(mode: str, check_untouched: Check):
    outcome = check_untouched(int8(mode=mode), NOTHING_TO_DO)
    assert "no " in outcome.warnings[0]


def test_a_quantized_model_is_left_alone(check_untouched: Check):
    outcome = check_untouched(
        int8(),
        f"""{HEADER} g (float[1, 4] x, float s, uint8 z) => (float[1, 4] y) {{
            q = QuantizeLinear(x, s, z)
            y = DequantizeLinear(q, s, z)
        }}""",
    )
    assert "quantized already" in outcome.warnings[0]


@pytest.mark.parametrize("opset", [11, 17])
def test_an_old_opset_is_raised_for_scales_per_channel(opset: int, context: Callable[..., Context]):
    model = mlp(opset)
    outcome = int8().apply(model, context(model))
    assert outcome.model.graph.opset_imports[""] == max(opset, 13)
    assert outcome.changed == 1


def test_a_selector_that_matches_nothing_is_an_error(context: Callable[..., Context]):
    model = mlp()
    with pytest.raises(UsageError, match=r"skip: 'head/\*' matches no node"):
        int8(skip=["head/*"]).apply(model, context(model))


def test_skipped_nodes_stay_float(check_untouched: Check):
    assert check_untouched(int8(skip=["op:MatMul"]), mlp()).warnings


def test_nodes_in_subgraphs_are_left_and_counted(context: Callable[..., Context]):
    model = ir.from_onnx_text(
        f"""{HEADER} g (float[1, 4] x, bool c) => (float[1, 4] y) {{
            y = If (c) <
                then_branch = a () => (float[1, 4] p) {{
                    w = Constant <value = float[4, 4] {{{", ".join(["0.5"] * 16)}}}> ()
                    p = MatMul(x, w)
                }},
                else_branch = b () => (float[1, 4] q) {{ q = Identity(x) }}
            >
        }}"""
    )
    outcome = int8().apply(model, context(model))
    assert outcome.changed == 0
    assert "outside subgraphs" in outcome.warnings[0]


def test_dynamic_quantizes_inside_subgraphs_and_skip_reaches_there(context: Callable[..., Context]):
    model = ir.from_onnx_text(
        f"""{HEADER} g (float[1, 4] x, bool c) => (float[1, 4] y) {{
            y = If (c) <
                then_branch = a () => (float[1, 4] p) {{
                    w = Constant <value = float[4, 4] {{{", ".join(["0.5"] * 16)}}}> ()
                    p = MatMul(x, w)
                }},
                else_branch = b () => (float[1, 4] q) {{ q = Identity(x) }}
            >
        }}"""
    )
    for graph in model.graphs():
        for node in graph:
            node.name = f"inner_{node.op_type}"
    outcome = int8(mode="dynamic", skip=["inner_MatMul"]).apply(model.clone(), context(model))
    assert (outcome.changed, outcome.notes) == (0, {"float32_reasons": {"skip": 1}})
    outcome = int8(mode="dynamic").apply(model, context(model))
    assert (outcome.changed, outcome.notes["integer_operators"]) == (1, {"MatMulInteger": 1})


def test_format_qoperator_writes_integer_operators_and_counts_them(context: Callable[..., Context]):
    model = mlp()
    outcome = int8(format="qoperator").apply(model, context(model))
    assert [node.op_type for node in outcome.model.graph] == ["QuantizeLinear", "QGemm"]
    assert outcome.notes["integer_operators"] == {"QGemm": 1}
    assert "left_as_pairs" not in outcome.notes


def test_format_qoperator_is_refused_where_it_would_do_nothing():
    with pytest.raises(ValueError, match="format: qoperator needs mode: static"):
        int8(format="qoperator", mode="dynamic")


@pytest.mark.parametrize(("reduce_range", "limit", "at_risk"), [(True, 64, 0), (False, 127, 1)])
def test_reduce_range_gives_weights_of_7_bits(
    reduce_range: bool, limit: int, at_risk: int, context: Callable[..., Context]
):
    model = mlp()
    outcome = int8(reduce_range=reduce_range).apply(model, context(model, count=16))
    arrays = [tensor.const_value.numpy() for tensor in outcome.model.graph.initializers.values()]
    largest = max(int(np.abs(array.astype(int)).max()) for array in arrays if array.dtype == np.int8)
    assert 0.9 * limit < largest <= limit
    assert outcome.notes["layers_that_saturate_without_dot_product"] == at_risk


@pytest.mark.parametrize("saturates", [True, False, None])
def test_reduce_range_auto_asks_the_cpu(saturates: bool | None, monkeypatch: pytest.MonkeyPatch):
    flags = {True: (), False: ("AVX-VNNI",), None: None}[saturates]
    monkeypatch.setattr(cpu, "features", lambda: cpu.CpuFeatures("one", "x86", 1, flags))
    assert int8()._wish(frozenset()).manner.layers.limit == (64 if saturates else 127)


@pytest.mark.parametrize("activations", ["uint8", "int8", "uint16", "int16"])
def test_activations_are_held_as_asked_for(activations: str, context: Callable[..., Context], tmp_path: Path):
    model = mlp()
    setting = context(model, count=16)
    outcome = int8(activations=activations).apply(model.clone(), setting)
    zeros = [n.inputs[2].const_value for n in outcome.model.graph if n.op_type == "QuantizeLinear"]
    assert {str(zero.numpy().dtype) for zero in zeros} == {activations}
    wide = activations.endswith("16")
    assert outcome.model.graph.opset_imports[""] == (21 if wide else 17)
    assert any("no kernels" in said for said in outcome.warnings) == wide
    for path, each in ((tmp_path / "a.onnx", model), (tmp_path / "b.onnx", outcome.model)):
        write_model(each, path)
    sqnr_db = compare(tmp_path / "a.onnx", tmp_path / "b.onnx", setting.samples).sqnr_db
    assert sqnr_db is not None
    assert sqnr_db > 30


def test_a_model_that_int8_makes_slower_stays_as_it_is(
    check_untouched: Check, monkeypatch: pytest.MonkeyPatch
):
    def slower(*args: object, **options: object) -> Callable[..., np.ndarray]:
        return lambda paths, budget_s: np.array([[1.0] + [2.0] * (len(paths) - 1)] * 10)

    monkeypatch.setattr(contest, "stopwatch", slower)
    outcome = check_untouched(int8(select="measured"), mlp(11))
    assert "quantize_int8: int8 is not faster than float here" in outcome.warnings[0]
    assert outcome.notes["placement_speedup"] == 0.5


OPTIONS = [
    ({}, lambda wish: (wish.limit, wish.strict) == (Limit(20.0), False)),
    ({"min_sqnr_db": 30.0}, lambda wish: (wish.limit, wish.strict) == (Limit(30.0), True)),
    ({"min_sqnr_db": None}, lambda wish: wish.limit == Limit()),
    ({"max_top1_drop": 0.01}, lambda wish: (wish.limit, wish.strict) == (Limit(20.0, 0.01), True)),
    ({"time_budget_s": 7.0}, lambda wish: wish.budget_s == 7.0),
    ({"equalize": False}, lambda wish: not wish.equalize),
    ({"round": "nearest"}, lambda wish: not wish.manner.layers.adaptive),
    ({"clip_weights": False}, lambda wish: not wish.manner.layers.clip),
    ({"correct_bias": False}, lambda wish: not wish.manner.layers.correct),
    ({"per_channel": False}, lambda wish: wish.manner.layers.per_channel is False),
    ({"calibration": "percentile", "percentile": 99.0}, lambda wish: wish.manner.percentile == 99.0),
    ({"select": "predicted"}, lambda wish: wish.select == "predicted"),
    ({"select": "measured", "activations": "int16"}, lambda wish: wish.select == "all"),
]


@pytest.mark.parametrize(("options", "granted"), OPTIONS, ids=[str(given) for given, _ in OPTIONS])
def test_options_reach_what_quantizes_and_are_not_there_without(
    options: dict[str, object], granted: Callable[[Wish], bool]
):
    assert granted(QuantizeInt8(QuantizeInt8.Options.model_validate(options))._wish(frozenset()))
    default = QuantizeInt8()._wish(frozenset())
    assert granted(default) == (options == {})


def test_notes_say_what_was_done(context: Callable[..., Context]):
    model = mlp()
    notes = int8().apply(model, context(model, count=16)).notes
    assert {"methods", "integer_nodes", "quantized_weights", "quantized_tensors", "ranges"} <= set(notes)
    assert {"folded_batch_norms", "batch_norms_as_convolutions"} <= set(notes)


@pytest.mark.parametrize("calibration", ["minmax", "percentile"])
@pytest.mark.parametrize(
    ("name", "preset", "allowed"),
    [
        ("resnet20_cifar10", "imagenet", 0.015),
        ("mlperf_tiny_resnet8_cifar10", "raw", 0.015),
        ("alibaba_mobilenet_cifar10", "imagenet", 0.02),
        ("mlperf_tiny_kws_dscnn", None, 0.015),
    ],
)
def test_real_models_keep_their_accuracy(
    name: str, preset: str | None, allowed: float, calibration: str, shared: Path, tmp_path: Path
):
    """On 400 samples; benchmarks/ has the figures on all of them."""
    from onnx_pare.bench.accuracy import accuracy_pair

    path = shared / "models" / f"{name}.onnx"
    model = load_model(path)
    data = "kws" if "kws" in name else "cifar10"
    preprocess = PRESETS[preset] if preset else None
    samples = open_samples(
        shared / "data" / f"{data}_calibration.npz", model, preprocess=preprocess, limit=64
    )
    labelled = open_labelled(
        shared / "data" / f"{data}_validation.npz", model, preprocess=preprocess, limit=400
    )
    context = Context(samples, tmp_path, threads=os.cpu_count() or 1)
    write_model(int8(calibration=calibration).apply(model, context).model, tmp_path / "int8.onnx")
    accuracy = accuracy_pair(path, tmp_path / "int8.onnx", labelled)
    assert accuracy.before - accuracy.after <= allowed
