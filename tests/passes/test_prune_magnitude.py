"""prune_magnitude: which weights go, which stay, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from pydantic import ValidationError

from onnx_pare.errors import UsageError
from onnx_pare.graph.edit import constant
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import serialize
from onnx_pare.passes.base import Context, Outcome
from onnx_pare.passes.prune_magnitude import NO_FASTER, PruneMagnitude

Check = Callable[..., Outcome]
MakeContext = Callable[..., Context]

HEAD = '<ir_version: 8, opset_import: ["": 17]>\n'
TWO_LAYERS = (
    HEAD
    + """
g (float[N,4] x) => (float[N,2] y)
<float[4,2] w = {1, -8, 2, 7, -3, 6, 4, 5}, float[2] b = {0.1, 0.2}, float[2,2] v = {10, 30, -20, 40}> {
   a = MatMul (x, w)
   y = Gemm (a, v, b)
}"""
)


def options(**given: Any) -> PruneMagnitude:
    return PruneMagnitude(PruneMagnitude.Options(**({"method": "magnitude"} | given)))


def pruned(text: str, context: MakeContext, **given: Any) -> tuple[Outcome, dict[str, list[float]]]:
    """Return the outcome, and the content of each initializer, flat."""
    model = ir.from_onnx_text(text)
    outcome = options(**given).apply(model, context(model))
    held = model.graph.initializers.items()
    return outcome, {name: np.ravel(value.const_value).tolist() for name, value in held}


def test_per_layer(check_rewrites: Check) -> None:
    after = TWO_LAYERS.replace("{1, -8, 2, 7, -3, 6, 4, 5}", "{0, -8, 0, 7, 0, 6, 0, 5}")
    after = after.replace("{10, 30, -20, 40}", "{0, 30, 0, 40}")
    outcome = check_rewrites(options(), TWO_LAYERS, after)
    assert outcome.changed == 6
    first, second = outcome.notes["layers"]
    assert (first["weight"], first["weights"], first["zeros_before"], first["zeros_after"]) == ("w", 8, 0, 4)
    assert (second["node"], second["weight"], second["zeros_after"]) == ("Gemm_1", "v", 2)
    assert outcome.notes["compressed_weight_bytes_after"] < outcome.notes["compressed_weight_bytes_before"]
    assert outcome.warnings == (NO_FASTER,)


def test_global(context: MakeContext) -> None:
    outcome, weights = pruned(TWO_LAYERS, context, scope="global")
    assert weights["w"] == [0, -8, 0, 7, 0, 0, 0, 0]
    assert weights["v"] == [10, 30, -20, 40]
    assert outcome.changed == 6


@pytest.mark.parametrize(
    ("sparsity", "left"), [(0.0, [1, -8, 2, 7, -3, 6, 4, 5]), (0.3, [0, -8, 0, 7, -3, 6, 4, 5])]
)
def test_never_more_than_asked(sparsity: float, left: list[float], context: MakeContext) -> None:
    assert pruned(TWO_LAYERS, context, sparsity=sparsity)[1]["w"] == left


def test_zeros_count_and_a_second_run_changes_nothing(check_untouched: Check) -> None:
    text = TWO_LAYERS.replace("{1, -8, 2, 7, -3, 6, 4, 5}", "{0, -8, -0.0, 7, 0, 6, 0, 5}")
    check_untouched(options(sparsity=0.5, skip=["op:Gemm"]), text)


def test_two_of_four_along_the_inputs(context: MakeContext) -> None:
    outcome, weights = pruned(TWO_LAYERS, context, pattern="2:4")
    assert np.reshape(weights["w"], (4, 2)).T.tolist() == [[0, 0, -3, 4], [-8, 7, 0, 0]]
    assert weights["v"] == [10, 30, -20, 40]  # two inputs are no group of four
    assert "1 layers do not split into groups of 2:4 along their inputs: " in outcome.warnings[-1]


def test_blocks(context: MakeContext) -> None:
    text = f"""{HEAD} g (float[N,1,2,2] x) => (float[N,2,1,1] y)
      <float[2,1,2,2] w = {{1, 2, 9, 9, 8, 8, 3, 1}}> {{ y = Conv (x, w) }}"""
    assert pruned(text, context, block=[1, 2])[1]["w"] == [0, 0, 9, 9, 8, 8, 0, 0]


@pytest.mark.parametrize(
    ("layer", "ports", "weight", "axis"),
    [
        ("ConvTranspose (x, w)", "(float[N,4,1,1] x) => (float[N,2,1,1] y)", "float[4,2,1,1]", 0),
        ("Conv (x, w)", "(float[N,4,1,1] x) => (float[N,2,1,1] y)", "float[2,4,1,1]", 1),
        ("Gemm <transB = 1> (x, w)", "(float[N,4] x) => (float[N,2] y)", "float[2,4]", 1),
        ("MatMul (w, x)", "(float[4,3] x) => (float[2,3] y)", "float[2,4]", 1),
    ],
)
def test_groups_run_along_the_inputs(
    layer: str, ports: str, weight: str, axis: int, context: MakeContext
) -> None:
    text = f"{HEAD} g {ports} <{weight} w = {{1, -8, 2, 7, -3, 6, 4, 5}}> {{ y = {layer} }}"
    model = ir.from_onnx_text(text)
    options(pattern="1:4").apply(model, context(model))
    array = constant(model.graph.initializers["w"])
    assert array is not None
    assert np.count_nonzero(array, axis=axis).ravel().tolist() == [1, 1]


def test_recurrent_weights_but_not_their_biases(context: MakeContext) -> None:
    text = f"""{HEAD} g (float[3,1,2] x) => (float[3,1,1,1] y)
      <float[1,1,2] w = {{1, 2}}, float[1,1,1] r = {{3}}, float[1,2] b = {{0.1, 0.2}}>
      {{ y = RNN <hidden_size = 1> (x, w, r, b) }}"""
    _, weights = pruned(text, context)
    assert (weights["w"], weights["r"], weights["b"]) == ([0, 2], [3], pytest.approx([0.1, 0.2]))


def test_shared_weights_are_pruned_once(context: MakeContext) -> None:
    text = f"""{HEAD} g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {{1, 2, 3, 4}}>
      {{ a = MatMul (x, w)  y = MatMul (a, w) }}"""
    outcome, weights = pruned(text, context)
    assert weights["w"] == [0, 0, 3, 4]
    assert [layer["shared_by"] for layer in outcome.notes["layers"]] == [2]


def test_constant_nodes_and_branches(check_rewrites: Check) -> None:
    text = f"""{HEAD} g (bool[1] c, float[N,2] x) => (float[N,2] y) {{
      w = Constant <value = float[2,2] {{1, 2, 3, 4}}> ()
      a = MatMul (x, w)
      y = If (c) <
        then_branch = t () => (float[N,2] p) <float[2,2] v = {{5, 6, 7, 8}}> {{ p = MatMul (a, v) }},
        else_branch = e () => (float[N,2] q) {{ q = Identity (a) }}> }}"""
    after = text.replace("{1, 2, 3, 4}", "{0, 0, 3, 4}").replace("{5, 6, 7, 8}", "{0, 0, 7, 8}")
    assert check_rewrites(options(), text, after).changed == 4


def test_quantized_weights_are_left_alone(check_untouched: Check) -> None:
    text = f"""{HEAD} g (float[N,2] x) => (float[N,2] y)
      <int8[2,2] w = {{1, 2, 3, 4}}, float s = {{0.1}}, int8 z = {{0}}>
      {{ d = DequantizeLinear (w, s, z)  y = MatMul (x, d) }}"""
    outcome = check_untouched(options(), text)
    assert list(outcome.notes["left_alone"].values()) == ["its weights are quantized"]
    assert "quantized weights, which are left alone" in outcome.warnings[0]


def test_products_of_activations_are_left_alone(check_untouched: Check) -> None:
    outcome = check_untouched(options(), f"{HEAD} g (float[2,2] x) => (float[2,2] y) {{ y = MatMul (x, x) }}")
    assert outcome.notes["left_alone"] == {"MatMul_0": "its weights are not constant"}


def test_skip(context: MakeContext) -> None:
    outcome, weights = pruned(TWO_LAYERS, context, skip=["op:Mat*"])
    assert (weights["w"][0], weights["v"]) == (1, [0, 30, 0, 40])
    assert len(outcome.notes["skipped"]) == 1
    with pytest.raises(UsageError, match=r"skip: 'op:Conv' matches no node"):
        pruned(TWO_LAYERS, context, skip=["op:Conv"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sparsity": 1.0}, "less than 1"),
        ({"pattern": "4:2"}, "the first number must be below the second"),
        ({"pattern": "2-4"}, "String should match pattern"),
        ({"pattern": "2:4", "sparsity": 0.7}, "pattern 2:4 means 0.5, not 0.7"),
        ({"pattern": "2:4", "scope": "global"}, "leave out `scope: global`"),
        ({"pattern": "2:4", "block": [2, 2]}, "leave out `block`"),
        ({"block": [2, 2], "scope": "global"}, "leave out `scope: global`"),
        ({"block": [0, 2]}, "greater than or equal to 1"),
        ({"block": [2]}, "at least 2 items"),
    ],
)
def test_contradictions_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PruneMagnitude.Options(**given)


def test_an_agreeing_sparsity_is_fine() -> None:
    assert PruneMagnitude.Options(pattern="1:4", sparsity=0.75).n_of_m == (1, 4)


def test_weights_that_cannot_be_fitted_go_by_magnitude(context: MakeContext) -> None:
    text = f"""{HEAD} g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {{1, 2, 3, 4}}>
      {{ a = MatMul (x, w)  y = MatMul (a, w) }}"""
    outcome, weights = pruned(text, context, method="reconstruct")
    assert weights["w"] == [0, 0, 3, 4]
    assert outcome.notes["layers"][0]["not_fitted"] == "several nodes share its weights"
    assert "1 layers were pruned by magnitude, not fitted: " in outcome.warnings[-1]


def test_global_budgets_count_what_cannot_be_fitted(context: MakeContext) -> None:
    text = f"""{HEAD} g (float[N,3] x) => (float[N,3] y)
      <float[3,3] w = {{1, 2, 3, 4, 5, 6, 7, 8, 9}}, float[3,3] v = {{1, -2, 3, 4, 5, 6, -7, 8, 9}}>
      {{ a = MatMul (x, w)  b = MatMul (a, w)  y = MatMul (b, v) }}"""
    outcome, weights = pruned(text, context, method="reconstruct", scope="global")
    assert [weights[name].count(0) for name in "wv"] == [4, 5]
    assert outcome.notes["zeros_after"] == 9


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"scope": "global"},
        {"pattern": "2:4"},
        {"block": [4, 1]},
        {"method": "reconstruct"},
        {"method": "reconstruct", "scope": "global"},
    ],
)
def test_real_model(given: dict[str, Any], shared: Path, context: MakeContext) -> None:
    model = load_model(shared / "models" / "mlperf_tiny_kws_dscnn.onnx")
    transform = options(**given)
    first = transform.apply(model, context(model, count=1))
    assert first.notes["zeros_after"] == pytest.approx(first.notes["weights"] / 2, rel=0.02)
    before = serialize(first.model)
    second = transform.apply(first.model, context(model, count=1))
    assert (second.changed, serialize(second.model)) == (0, before)
