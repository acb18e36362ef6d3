# ruff: noqa: E501  one case a line, with its whole message
from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_pare.errors import RecipeError
from onnx_pare.pipeline.gates import METRICS, Gate, GateResult, Value, check, parse_gate


def one(expr: str, value: Value) -> GateResult:
    gate = parse_gate(expr)
    (result,) = check([gate], {gate.metric: value})
    assert result.expr == expr
    return result


@pytest.mark.parametrize(
    ("expr", "gate"),
    [
        ("speedup>=1.5", ("speedup", None, ">=", 1.5)),
        ("speedup[raspberry-pi-4@ncnn] >= 1.5", ("speedup", "raspberry-pi-4@ncnn", ">=", 1.5)),
        (" latency_ms[ local ]<5 ", ("latency_ms", "local", "<", 5.0)),
        ("top1_drop<=1e-2", ("top1_drop", None, "<=", 0.01)),
        ("params_ratio==1", ("params_ratio", None, "==", 1.0)),
        ("sqnr_db>-3.", ("sqnr_db", None, ">", -3.0)),
    ],
)
def test_reading(expr: str, gate: tuple[str, str | None, str, float]) -> None:
    assert parse_gate(expr) == Gate(expr, *gate)


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("", "'' is not METRIC OP NUMBER, as in speedup>=1.5 (OP: >= <= > < ==)"),
        ("speedup", "'speedup' is not METRIC OP NUMBER, as in speedup>=1.5 (OP: >= <= > < ==)"),
        ("speedup=>1", "'speedup=>1' is not METRIC OP NUMBER, as in speedup>=1.5 (OP: >= <= > < ==)"),
        ("speedup!=1", "'speedup!=1' is not METRIC OP NUMBER, as in speedup>=1.5 (OP: >= <= > < ==)"),
        ("speedup>=fast", "'fast' is not a number"),
        ("speedup>=nan", "'nan' is not a number"),
        ("speedup>=1e999", "'1e999' is not a number"),
        ("speedup[]>=1", "no profile between the brackets of 'speedup[]>=1', as in speedup[local]"),
        ("top1_dorp<=0", "unknown metric 'top1_dorp', did you mean 'top1_drop'?"),
        ("sqnr_db[local]>=30", "'sqnr_db' does not depend on a profile; write 'sqnr_db>=30'"),
        ("flops<=1", f"unknown metric 'flops' (known: {', '.join(sorted(METRICS))})"),
    ],
)
def test_what_is_no_gate(expr: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_gate(expr)
    assert caught.value.message == f"--gate: {message}"


@given(st.text(alphabet="speduptqnr_b[]<>=10.e-+ \x00", max_size=20) | st.text(max_size=20))
def test_any_text_is_a_gate_or_a_recipe_error(expr: str) -> None:
    try:
        gate = parse_gate(expr)
    except RecipeError:
        return
    assert gate.metric in METRICS
    assert math.isfinite(gate.bound)


@pytest.mark.parametrize(
    ("expr", "value", "passed"),
    [
        ("size_ratio<=0.3", 0.3, True),
        ("size_ratio<0.3", 0.3, False),
        ("size_ratio>0.3", 0.3, False),
        ("size_ratio>=0.3", 0.3, True),
        ("size_ratio==0.3", 0.3, True),
        ("size_ratio==0.3", 0.31, False),
        ("top1_drop<=0.01", -0.002, True),
        ("sqnr_db>=40", math.inf, True),
        ("sqnr_db<40", math.inf, False),
    ],
)
def test_comparing(expr: str, value: float, passed: bool) -> None:
    result = one(expr, value)
    assert (result.value, result.passed) == (value, passed)
    assert bool(result.reason) is not passed


@pytest.mark.parametrize("op", [">=", "<=", ">", "<", "=="])
def test_nan_never_passes(op: str) -> None:
    result = one(f"sqnr_db{op}0", math.nan)
    assert (result.value, result.passed, result.reason) == (None, False, "sqnr_db is not a number")
    assert not one(f"speedup{op}0", {"local": math.nan}).passed


@pytest.mark.parametrize(
    ("expr", "by_profile", "value", "passed", "reason"),
    [
        ("speedup>=2", {"local": 3.0, "pi": 2.5}, 2.5, True, ""),
        ("speedup>=2", {"local": 3.0, "pi": 1.5}, 1.5, False, "speedup is 1.5"),
        ("latency_ms<=2", {"local": 3.0, "pi": 1.5}, 3.0, False, "latency_ms is 3"),
        ("latency_ms==2", {"local": 2.0, "pi": 2.5}, 2.5, False, "latency_ms is 2.5"),
        ("speedup[local]>=2", {"local": 3.0, "pi": 1.5}, 3.0, True, ""),
        ("speedup[pie]>=2", {"local": 3.0, "pi": 1.5}, None, False, "profile 'pie' was not benchmarked, did you mean 'pi'?"),
        ("speedup>=2", {"local": 3.0, "pi": None}, None, False, "there is no speedup for profile 'pi'"),
        ("speedup[local]>=2", {"local": 3.0, "pi": None}, 3.0, True, ""),
        ("speedup>=2", {}, None, False, "no profile was benchmarked"),
    ],
)  # fmt: skip
def test_profiles(
    expr: str, by_profile: Mapping[str, float | None], value: float | None, passed: bool, reason: str
) -> None:
    assert one(expr, by_profile) == GateResult(expr, value, passed, reason)


@pytest.mark.parametrize("metric", METRICS)
def test_what_was_not_measured_does_not_pass(metric: str) -> None:
    gate = parse_gate(f"{metric}>=0")
    for values in ({}, {metric: None}):
        (result,) = check([gate], values)
        assert (result.value, result.passed) == (None, False)
        assert result.reason


def test_top1_drop_without_labels_says_what_to_do() -> None:
    assert (
        one("top1_drop<=0", None).reason
        == "needs labelled data: give evaluation.data in the recipe, or --eval"
    )
