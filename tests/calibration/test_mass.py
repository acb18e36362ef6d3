from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.calibration.mass import Mass
from onnx_pare.calibration.observers import Histogram


def mass(values: np.ndarray) -> Mass:
    seen = Histogram()
    seen.update(values.astype(np.float32))
    return Mass.of(seen)


VALUES = {
    "both signs": np.random.default_rng(0).normal(size=20_000),
    "positive": 5 + np.random.default_rng(0).random(20_000),
    "negative": -np.random.default_rng(0).random(20_000),
}


@pytest.mark.parametrize("name", VALUES)
def test_sums_beyond_an_end_are_those_of_the_values(name: str):
    values = VALUES[name]
    found = mass(values)
    extreme = (values == values.min()) & (values.min() < 0) | (values == values.max()) & (values.max() > 0)
    assert found.signal == pytest.approx(np.sum(values**2), rel=1e-4)
    for end in np.quantile(values, [0.01, 0.3, 0.9]):
        for side in (-1, 1):
            beyond = values[(side * (values - end) > 0) & ~extreme]
            count, squares = found.beyond(np.array([end]), side)
            assert count[0] == pytest.approx(len(beyond), abs=40)
            assert squares[0] == pytest.approx(np.sum((beyond - end) ** 2), rel=0.02)


def test_zeros_and_extremes_are_kept_apart():
    found = mass(np.array([0.0, 0.0, -1.0, 3.0, 3.0, 3.0, 0.5]))
    assert (found.total, found.count[-1], found.at_low, found.at_high) == (7, 1, 1, 3)
    assert found.signal == pytest.approx(1 + 27 + 0.25, rel=1e-3)


def test_an_extreme_on_the_near_side_of_zero_is_an_ordinary_value():
    found = mass(np.array([5.0, 5.0, 6.0]))
    assert (found.count[-1], found.at_low, found.at_high) == (2, 0, 1)
