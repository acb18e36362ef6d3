"""Gates as people write them: `METRIC OP BOUND`, such as `speedup>=1.5` or `size_bytes<=1.05*baseline`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnx_pare.documents.suggest import suggest
from onnx_pare.pipeline.metrics import METRICS, PER_PROFILE

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_UNSIGNED = r"(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_SIGNED = rf"[-+]?{_UNSIGNED}"
_RELATIVE = rf"(?:({_SIGNED})\s*\*\s*)?baseline(?:\s*\*\s*({_SIGNED}))?(?:\s*([-+]\s*{_UNSIGNED}))?"
#: what a gate compares with, as a regular expression that JSON Schema understands too
BOUND_PATTERN = rf"(?:{_SIGNED}|{_RELATIVE})"
_EXPRESSION = re.compile(
    r"\s*(?P<metric>[^\s\[\]<>=]+)\s*(?:\[\s*(?P<profile>[^\[\]]*?)\s*\])?"
    r"\s*(?P<op>>=|<=|==|>|<)\s*(?P<bound>[^\s<>=](?:[^<>=]*[^\s<>=])?)\s*"
)
_FORM = "METRIC OP NUMBER, as in speedup>=1.5 (OP: >= <= > < ==)"


@dataclass(frozen=True)
class Bound:
    """What a metric is compared with: a number, or `factor` · baseline + `offset`.

    Attributes:
        offset: In the metric's unit; of a plain number, that number.
        factor: Of the number that the baseline has for the metric; None for a plain number.
    """

    offset: float
    factor: float | None = None

    @property
    def relative(self) -> bool:
        """Whether the baseline is asked for."""
        return self.factor is not None

    def of(self, baseline: float | None) -> float | None:
        """Return the bound as a number, given that of the baseline; None where it needs one that is None."""
        if self.factor is None:
            return self.offset
        return None if baseline is None else self.factor * baseline + self.offset


@dataclass(frozen=True)
class Gate:
    """One condition.

    Attributes:
        expr: As the user wrote it.
        metric: A key of `METRICS`.
        profile: The profile in brackets; None for a metric without, or for all profiles.
        op: `>=`, `<=`, `==`, `>` or `<`.
        bound: What the metric is compared with.
    """

    expr: str
    metric: str
    profile: str | None
    op: str
    bound: Bound

    def holds(self, value: float, bound: float) -> bool:
        """Return whether `value` meets the condition at this bound; NaN never does."""
        return not math.isnan(value) and not math.isnan(bound) and _OPERATORS[self.op](value, bound)


def read_gate(expr: str) -> Gate:
    """Read one expression: `METRIC OP BOUND`, where METRIC may name a profile: `speedup[local]>=1.5`.

    BOUND is a number, or `[FACTOR*]baseline[*FACTOR][+N|-N]`: a number of an earlier run's report.

    Raises:
        ValueError: It is none; the message says why.
    """
    match = _EXPRESSION.fullmatch(expr)
    if match is None:
        raise ValueError(f"'{expr}' is not {_FORM}")
    metric, profile, op, bound = match["metric"], match["profile"], match["op"], match["bound"]
    if metric not in METRICS:
        raise ValueError(f"unknown metric '{metric}'{suggest(metric, METRICS)}")
    if profile is not None and metric not in PER_PROFILE:
        raise ValueError(f"'{metric}' does not depend on a profile; write '{metric}{op}{bound}'")
    if profile == "":
        raise ValueError(f"no profile between the brackets of '{expr}', as in {metric}[local]")
    return Gate(expr, metric, profile, op, _read_bound(bound))


def _read_bound(text: str) -> Bound:
    match = re.fullmatch(BOUND_PATTERN, text)
    relative = "baseline" in text
    *factors, offset = match.groups() if match and relative else (text,)
    if match:
        product = math.prod(_number(factor) for factor in factors if factor)
        bound = Bound(_number(offset or "0"), product if relative else None)
        if math.isfinite(bound.offset) and math.isfinite(product):
            return bound
    raise ValueError(f"'{text}' is not a number, nor a bound such as 1.05*baseline")


def _number(text: str) -> float:
    return float("".join(text.split()))  # between a sign and its digits there may be spaces
