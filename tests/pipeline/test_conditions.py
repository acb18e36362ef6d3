from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_pare.pipeline.conditions import Bound, Gate, read_gate
from onnx_pare.pipeline.metrics import METRICS


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
    metric, profile, op, bound = gate
    assert read_gate(expr) == Gate(expr, metric, profile, op, Bound(bound))


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("", "'' is not METRIC OP NUMBER, as in speedup>=1.5 (OP: >= <= > < ==)"),
        ("speedup", "'speedup' is not METRIC OP NUMBER, as in speedup>=1.5 (OP: >= <= > < ==)"),
        ("speedup=>1", "'speedup=>1' is not METRIC OP NUMBER, as in speedup>=1.5 (OP: >= <= > < ==)"),
        ("speedup!=1", "'speedup!=1' is not METRIC OP NUMBER, as in speedup>=1.5 (OP: >= <= > < ==)"),
        ("speedup>=fast", "'fast' is not a number, nor a bound such as 1.05*baseline"),
        ("speedup>=nan", "'nan' is not a number, nor a bound such as 1.05*baseline"),
        ("speedup>=1e999", "'1e999' is not a number, nor a bound such as 1.05*baseline"),
        ("speedup[]>=1", "no profile between the brackets of 'speedup[]>=1', as in speedup[local]"),
        ("top1_dorp<=0", "unknown metric 'top1_dorp', did you mean 'top1_drop'?"),
        ("sqnr_db[local]>=30", "'sqnr_db' does not depend on a profile; write 'sqnr_db>=30'"),
        ("flops<=1", f"unknown metric 'flops' (known: {', '.join(sorted(METRICS))})"),
    ],
)
def test_what_is_no_gate(expr: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_gate(expr)


@given(st.text(alphabet="speduptqnr_bail[]<>=10.e-+* \x00", max_size=24) | st.text(max_size=20))
def test_any_text_is_a_gate_or_a_value_error(expr: str) -> None:
    try:
        gate = read_gate(expr)
    except ValueError:
        return
    assert gate.metric in METRICS
    assert math.isfinite(gate.bound.offset)
    assert gate.bound.factor is None or math.isfinite(gate.bound.factor)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ("baseline", Bound(0, 1)),
        ("1.05*baseline", Bound(0, 1.05)),
        ("1.05 * baseline", Bound(0, 1.05)),
        ("baseline*1.05", Bound(0, 1.05)),
        ("2*baseline*3", Bound(0, 6)),
        ("baseline+1e3", Bound(1000, 1)),
        ("baseline - .5", Bound(-0.5, 1)),
        ("1.1*baseline-2", Bound(-2, 1.1)),
        ("-baseline", None),
        ("baseline+-1", None),
        ("baseline/2", None),
        ("1.05baseline", None),
        ("baselines", None),
        ("baseline*1e999", None),
        ("baseline+1e999", None),
        ("1e200*baseline*1e200", None),
        ("baseline*baseline", None),
        ("1+baseline", None),
        ("1 2", None),
    ],
)
def test_bounds_that_compare_with_a_baseline(bound: str, expected: Bound | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match=r"is not a number, nor a bound such as 1\.05\*baseline"):
            read_gate(f"size_bytes<={bound}")
        return
    found = read_gate(f"size_bytes<={bound}").bound
    assert (found.offset, found.factor) == pytest.approx((expected.offset, expected.factor))
    assert found.relative


def test_the_bound_as_a_number() -> None:
    assert (Bound(3).of(None), Bound(3).of(7)) == (3, 3)
    assert (Bound(-1, 2).of(7), Bound(-1, 2).of(None)) == (13, None)
