from __future__ import annotations

from math import exp, sqrt

import pytest

from onnx_pare.hw_profiles.profiles import Profile
from onnx_pare.hw_profiles.rates import Z80
from onnx_pare.hw_profiles.speedup import forecast_pair
from onnx_pare.hw_profiles.workload import Workload
from tests.conftest import with_weights


def product(columns: int, name: str = "m") -> Workload:
    text = f"g (float[8, 256] x, float[256, {columns}] w) => (float[8, {columns}] y) {{ y = MatMul(x, w) }}"
    model = with_weights(text, w=(256, columns))
    model.graph[0].name = name
    return Workload.of(model, {"x": (8, 256)})


def test_before_over_after(fitted: Profile) -> None:
    found = forecast_pair(product(1024), product(512), fitted, threads=1)
    entry = found.to_json()
    assert entry["speedup"] == entry["before_ms"] / entry["after_ms"] > 1
    assert (entry["profile"], entry["kind"], entry["runs"]) == ("board", "predicted", 0)
    low, high = entry["interval"]
    # both err by 0.1, independently
    assert high / entry["speedup"] == pytest.approx(exp(Z80 * 0.1 * sqrt(2)))
    assert low * high == pytest.approx(entry["speedup"] ** 2)


def test_the_same_kernels_take_the_same_time(fitted: Profile) -> None:
    found = forecast_pair(product(512), product(512, name="other"), fitted, threads=1)
    assert (found.speedup, found.interval) == (1.0, (1.0, 1.0))
