"""Gates: conditions on the report's numbers, such as `speedup>=1.5`, that decide the exit code."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from onnx_pare.documents.suggest import suggest
from onnx_pare.errors import RecipeError

#: metric -> what it is, for the documentation and the schema
METRICS: Mapping[str, str] = {
    "top1_drop": "labelled top-1 accuracy before minus after, as a fraction (0.01 is one point)",
    "top1_agreement": "fraction of samples whose top-1 class stayed the same",
    "sqnr_db": "signal to quantization noise ratio of the outputs against the original, in dB",
    "speedup": "latency before over latency after, per profile",
    "latency_ms": "latency after, in ms, per profile",
    "size_ratio": "file size after over before",
    "size_bytes": "file size after, in bytes",
    "macs_ratio": "MACs after over before",
    "params_ratio": "parameters after over before",
    "peak_memory_bytes": "peak activation memory after, in bytes",
}
PER_PROFILE = frozenset({"speedup", "latency_ms"})

Value = float | Mapping[str, float | None] | None

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_EXPRESSION = re.compile(
    r"\s*(?P<metric>[^\s\[\]<>=]+)\s*(?:\[\s*(?P<profile>[^\[\]]*?)\s*\])?"
    r"\s*(?P<op>>=|<=|==|>|<)\s*(?P<bound>[^\s<>=]+)\s*"
)
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class Gate:
    """One condition.

    Attributes:
        expr: As the user wrote it.
        metric: A key of `METRICS`.
        profile: The profile in brackets; None for a metric without, or for all profiles.
        op: `>=`, `<=`, `==`, `>` or `<`.
        bound: What the metric is compared with, in the metric's unit.
    """

    expr: str
    metric: str
    profile: str | None
    op: str
    bound: float

    def holds(self, value: float) -> bool:
        """Return whether `value` meets the condition; NaN never does."""
        return not math.isnan(value) and _OPERATORS[self.op](value, self.bound)


@dataclass(frozen=True)
class GateResult:
    """What became of a gate.

    Attributes:
        expr: As the user wrote it.
        value: The number that decided (of several profiles, the worst); None if there is none. It may be
            infinite: `sqnr_db` of identical outputs is.
        passed: Whether the gate was met.
        reason: Why it was not; empty if it was.
    """

    expr: str
    value: float | None
    passed: bool
    reason: str = ""


def read_gate(expr: str) -> Gate:
    """Read one expression: `METRIC OP NUMBER`, where METRIC may name a profile: `speedup[local]>=1.5`.

    Raises:
        ValueError: It is none; the message says why.
    """
    match = _EXPRESSION.fullmatch(expr)
    if match is None:
        raise ValueError(f"'{expr}' is not METRIC OP NUMBER, as in speedup>=1.5 (OP: >= <= > < ==)")
    metric, profile, op, bound = match["metric"], match["profile"], match["op"], match["bound"]
    if metric not in METRICS:
        raise ValueError(f"unknown metric '{metric}'{suggest(metric, METRICS)}")
    if profile is not None and metric not in PER_PROFILE:
        raise ValueError(f"'{metric}' does not depend on a profile; write '{metric}{op}{bound}'")
    if profile == "":
        raise ValueError(f"no profile between the brackets of '{expr}', as in {metric}[local]")
    if not _NUMBER.fullmatch(bound) or not math.isfinite(float(bound)):
        raise ValueError(f"'{bound}' is not a number")
    return Gate(expr, metric, profile, op, float(bound))


def parse_gate(expr: str, where: str = "--gate") -> Gate:
    """Read one expression as `read_gate` does.

    Args:
        expr: The expression.
        where: What the message of an error starts with.

    Raises:
        RecipeError: It is none.
    """
    try:
        return read_gate(expr)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from error


def check(gates: Sequence[Gate], values: Mapping[str, Value]) -> list[GateResult]:
    """Hold gates against numbers.

    Args:
        gates: The gates.
        values: The numbers by metric; those that depend on a profile by profile name. None or absent: there
            is no such number, and a gate on it is not met.
    """
    return [_check(gate, values.get(gate.metric)) for gate in gates]


def _check(gate: Gate, value: Value) -> GateResult:
    if isinstance(value, Mapping):
        return _check_profiles(gate, value)
    if value is None:
        return GateResult(gate.expr, None, False, _UNAVAILABLE.get(gate.metric, "was not measured"))
    if math.isnan(value):
        return GateResult(gate.expr, None, False, f"{gate.metric} is not a number")
    return _compared(gate, value)


def _check_profiles(gate: Gate, by_profile: Mapping[str, float | None]) -> GateResult:
    if gate.profile is not None and gate.profile not in by_profile:
        known = suggest(gate.profile, by_profile)
        return GateResult(gate.expr, None, False, f"profile '{gate.profile}' was not benchmarked{known}")
    chosen = by_profile if gate.profile is None else {gate.profile: by_profile[gate.profile]}
    if not chosen:
        return GateResult(gate.expr, None, False, "no profile was benchmarked")
    numbers = []
    for profile, number in chosen.items():
        if number is None or math.isnan(number):
            return GateResult(gate.expr, None, False, f"there is no {gate.metric} for profile '{profile}'")
        numbers.append(number)
    return _compared(gate, _worst(gate, numbers))


def _worst(gate: Gate, numbers: Sequence[float]) -> float:
    """Return the number furthest from meeting the gate."""
    distance: Mapping[str, Callable[[float], float]] = {
        ">": lambda number: -number,
        "<": lambda number: number,
        "=": lambda number: abs(number - gate.bound),
    }
    return max(numbers, key=distance[gate.op[0]])


def _compared(gate: Gate, value: float) -> GateResult:
    passed = gate.holds(value)
    return GateResult(gate.expr, value, passed, "" if passed else f"{gate.metric} is {value:.6g}")


_UNAVAILABLE = {
    "top1_drop": "needs labelled data: give evaluation.data in the recipe, or --eval",
    "speedup": "no profile was benchmarked",
    "latency_ms": "no profile was benchmarked",
}
