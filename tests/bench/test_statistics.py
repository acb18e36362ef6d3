from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.bench.statistics import half_width, median, median_interval, percentile


def noisy_timings(count: int, true_median: float, seed: int) -> np.ndarray:
    """Timings as a shared machine gives them: a sharp front and a long tail."""
    return true_median * np.random.default_rng(seed).lognormal(0, 0.1, count)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = noisy_timings(30, 5.0, seed=1)
    assert median_interval(values, seed=3) == median_interval(values, seed=3)
    assert median_interval(values, seed=3) != median_interval(values, seed=4)


def test_the_interval_holds_the_median_of_the_data() -> None:
    values = noisy_timings(30, 5.0, seed=2)
    low, high = median_interval(values)
    assert low <= median(values) <= high


def test_about_95_of_100_intervals_cover_the_true_median() -> None:
    covered = 0
    for seed in range(200):
        low, high = median_interval(noisy_timings(40, 5.0, seed), seed)
        covered += low <= 5.0 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_more_timings_make_it_narrower() -> None:
    assert half_width(noisy_timings(400, 5.0, 0)) < half_width(noisy_timings(40, 5.0, 0)) / 2


def test_equal_timings_leave_no_width() -> None:
    assert median_interval(np.full(12, 2.5)) == (2.5, 2.5)
    assert half_width(np.full(12, 2.5)) == 0


def test_one_timing_is_its_own_interval() -> None:
    assert median_interval(np.array([3.0])) == (3.0, 3.0)


def test_an_outlier_hardly_moves_the_interval() -> None:
    values = noisy_timings(41, 5.0, seed=5)
    calm = median_interval(values)
    values[values.argmax()] = 5000.0
    assert median_interval(values) == pytest.approx(calm, rel=0.02)


def test_percentile_interpolates() -> None:
    assert percentile(np.arange(11.0), 90) == 9.0
