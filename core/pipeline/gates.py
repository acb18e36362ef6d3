"""Gates held against what was measured, and against a baseline's numbers: they decide the exit code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx_pare.documents.suggest import suggest
from onnx_pare.pipeline.conditions import Gate
from onnx_pare.pipeline.metrics import Value


@dataclass(frozen=True)
class GateResult:
    """What became of a gate.

    Attributes:
        expr: As the user wrote it.
        value: The number that decided (of several profiles, the worst); None if there is none. It may be
            infinite: `sqnr_db` of identical outputs is.
        passed: Whether the gate was met.
        reason: Why it was not; empty if it was.
        bound: The number that the value was compared with; None if there was none to compare.
    """

    expr: str
    value: float | None
    passed: bool
    reason: str = ""
    bound: float | None = None


def check(
    gates: Sequence[Gate], values: Mapping[str, Value], baseline: Mapping[str, Value] | None = None
) -> list[GateResult]:
    """Hold gates against numbers.

    Args:
        gates: The gates.
        values: The numbers by metric; those that depend on a profile by profile name. None or absent: there
            is no such number, and a gate on it is not met.
        baseline: Likewise those of an earlier run, for the gates that compare with it.
    """
    before = baseline or {}
    return [_check(gate, values.get(gate.metric), before.get(gate.metric)) for gate in gates]


def _check(gate: Gate, value: Value, baseline: Value) -> GateResult:
    if isinstance(value, Mapping):
        return _check_profiles(gate, value, baseline if isinstance(baseline, Mapping) else {})
    if value is None:
        return _undecided(gate, _UNAVAILABLE.get(gate.metric, "was not measured"))
    if isinstance(baseline, Mapping) or math.isnan(value):
        return _undecided(gate, f"{gate.metric} is not a number")
    return _compared(gate, value, baseline)


def _check_profiles(
    gate: Gate, by_profile: Mapping[str, float | None], baseline: Mapping[str, float | None]
) -> GateResult:
    if gate.profile is not None and gate.profile not in by_profile:
        known = suggest(gate.profile, by_profile)
        return _undecided(gate, f"profile '{gate.profile}' was not benchmarked{known}")
    chosen = by_profile if gate.profile is None else {gate.profile: by_profile[gate.profile]}
    if not chosen:
        return _undecided(gate, "no profile was benchmarked")
    results = []
    for profile, number in chosen.items():
        if number is None or math.isnan(number):
            return _undecided(gate, f"there is no {gate.metric} for profile '{profile}'")
        results.append(_compared(gate, number, baseline.get(profile)))
    return max(results, key=lambda result: _distance(gate, result))


def _distance(gate: Gate, result: GateResult) -> float:
    """Return how far a number is from meeting the gate, as a share of the bound; the worst decides."""
    if result.value is None or result.bound is None:
        return math.inf
    above = (result.value - result.bound) / (abs(result.bound) or 1.0)
    return {">": -above, "<": above, "=": abs(above)}[gate.op[0]]


def _compared(gate: Gate, value: float, baseline: float | None) -> GateResult:
    bound = gate.bound.of(baseline)
    if bound is None or math.isnan(bound):
        return _undecided(gate, f"the baseline has no {gate.metric} to compare with")
    passed = gate.holds(value, bound)
    against = f", the bound {bound:.6g}" if gate.bound.relative else ""
    return GateResult(
        gate.expr, value, passed, "" if passed else f"{gate.metric} is {value:.6g}{against}", bound
    )


def _undecided(gate: Gate, reason: str) -> GateResult:
    return GateResult(gate.expr, None, False, reason, gate.bound.of(None))


_UNAVAILABLE = {
    "top1_drop": "needs labelled data: give evaluation.data in the recipe, or --eval",
    "speedup": "no profile was benchmarked",
    "latency_ms": "no profile was benchmarked",
}
