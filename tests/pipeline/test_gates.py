# ruff: noqa: E501  one case a line, with its whole message
from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from onnx_pare.pipeline.conditions import read_gate
from onnx_pare.pipeline.gates import GateResult, check
from onnx_pare.pipeline.metrics import METRICS, Value


def one(expr: str, value: Value, baseline: Value = None) -> GateResult:
    gate = read_gate(expr)
    (result,) = check([gate], {gate.metric: value}, {gate.metric: baseline})
    assert result.expr == expr
    return result


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
    assert one(expr, by_profile) == GateResult(expr, value, passed, reason, read_gate(expr).bound.offset)


@pytest.mark.parametrize("metric", METRICS)
def test_what_was_not_measured_does_not_pass(metric: str) -> None:
    gate = read_gate(f"{metric}>=0")
    for values in ({}, {metric: None}):
        (result,) = check([gate], values)
        assert (result.value, result.passed) == (None, False)
        assert result.reason


def test_top1_drop_without_labels_says_what_to_do() -> None:
    assert (
        one("top1_drop<=0", None).reason
        == "needs labelled data: give evaluation.data in the recipe, or --eval"
    )


# --- against a baseline -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "value", "baseline", "passed", "bound"),
    [
        ("size_bytes<=1.05*baseline", 104.0, 100.0, True, 105.0),
        ("size_bytes<=1.05*baseline", 106.0, 100.0, False, 105.0),
        ("size_bytes<=baseline+10", 110.0, 100.0, True, 110.0),
        ("sqnr_db>=baseline-3", 37.5, 40.0, True, 37.0),
        ("sqnr_db>=baseline-3", 36.5, 40.0, False, 37.0),
        ("top1_drop<=baseline", -0.01, -0.02, False, -0.02),
        ("sqnr_db==baseline", math.inf, math.inf, True, math.inf),
        ("sqnr_db>=0.9*baseline", 80.0, math.inf, False, math.inf),
    ],
)
def test_a_number_against_an_earlier_one(
    expr: str, value: float, baseline: float, passed: bool, bound: float
) -> None:
    result = one(expr, value, baseline)
    assert (result.value, result.passed) == (value, passed)
    assert result.bound == pytest.approx(bound)
    assert result.reason == ("" if passed else f"{read_gate(expr).metric} is {value:g}, the bound {bound:g}")


@pytest.mark.parametrize(
    ("now", "decides", "bound"),
    [
        ({"local": 1.0, "pi": 19.0}, 19.0, 20.0),  # 5 % below its bound, the other half
        ({"local": 1.99, "pi": 10.0}, 1.99, 2.0),
        ({"local": 2.2, "pi": 21.0}, 2.2, 2.0),
        ({"local": 2.2, "pi": 30.0}, 30.0, 20.0),
    ],
)
def test_of_several_profiles_the_worst_against_its_own_baseline_decides(
    now: Mapping[str, float], decides: float, bound: float
) -> None:
    result = one("latency_ms<=2*baseline", now, {"local": 1.0, "pi": 10.0})
    assert (result.value, result.bound, result.passed) == (decides, bound, decides <= bound)


@pytest.mark.parametrize("baseline", [None, {}, {"pi": 1.0}, {"local": None}])
def test_what_the_baseline_has_not_is_not_met(baseline: Value) -> None:
    result = one("latency_ms[local]<=baseline", {"local": 1.0}, baseline)
    assert result == GateResult(
        result.expr, None, False, "the baseline has no latency_ms to compare with", None
    )


def test_nothing_times_infinity_is_no_bound() -> None:
    assert not one("sqnr_db>=0*baseline", 40.0, math.inf).passed
