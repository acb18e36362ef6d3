from __future__ import annotations

import math

import pytest

from onnx_pare.pipeline.metrics import METRICS, PER_PROFILE, metric_values
from tests.pipeline.reports import report


def test_every_metric_is_read() -> None:
    assert metric_values(report()) == {
        "top1_drop": 0.25,
        "top1_agreement": 0.75,
        "sqnr_db": 33.0,
        "speedup": {"local": 2.0},
        "latency_ms": {"local": 1.5},
        "size_ratio": 0.25,
        "size_bytes": 25,
        "macs_ratio": 0.5,
        "params_ratio": 0.5,
        "peak_memory_bytes": 40,
    }
    assert set(metric_values(report())) == set(METRICS)
    assert set(METRICS) > PER_PROFILE


def test_what_was_not_measured_is_none() -> None:
    nothing = {"size_bytes": 1, "params": 0, "macs": 0, "peak_activation_bytes": 0}
    found = metric_values(report(accuracy=None, before=nothing, latency=[]))
    assert (found["top1_drop"], found["macs_ratio"], found["params_ratio"]) == (None, None, None)
    assert found["speedup"] == found["latency_ms"] == {}


@pytest.mark.parametrize(
    ("said", "meant"), [(200, math.inf), (-200.0, -math.inf), (199.9, 199.9), (None, None)]
)
def test_the_limits_of_an_sqnr_are_infinite(said: float | None, meant: float | None) -> None:
    assert metric_values(report(fidelity={"top1_agreement": None, "sqnr_db": said}))["sqnr_db"] == meant
