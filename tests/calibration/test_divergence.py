from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from onnx_pare.calibration.divergence import _divergences, least_divergence
from onnx_pare.calibration.mass import Mass
from onnx_pare.calibration.observers import Histogram


def divergence(counts: np.ndarray, end: int, groups: int) -> float:
    """KL(P‖Q) of one threshold, written as in the paper."""
    p = counts[:end].astype(float)
    p[-1] += counts[end:].sum()
    q = np.zeros(end)
    bounds = [j * end // groups for j in range(groups + 1)]
    for a, b in pairwise(bounds):
        occupied = p[a:b] > 0
        if occupied.any():
            q[a:b][occupied] = counts[a:b].sum() / occupied.sum()
    p, q = p / p.sum(), q / q.sum()
    known = p > 0
    if not q[known].all():
        return np.inf
    return float(np.sum(p[known] * np.log(p[known] / q[known])))


@pytest.mark.parametrize("groups", [4, 7, 128])
def test_running_sums_give_the_divergence_of_the_definition(groups: int):
    rng = np.random.default_rng(groups)
    counts = np.floor(1000 * rng.exponential(size=400) * np.exp(-np.arange(400) / 40))
    ends = np.arange(groups, 401, 9)
    found = _divergences(counts, ends, groups) / counts.sum() - np.log(counts.sum())
    expected = [divergence(counts, end, groups) for end in ends]
    assert np.isfinite(expected).sum() > 5
    np.testing.assert_allclose(found, expected, atol=1e-9)


def mass(values: np.ndarray) -> Mass:
    seen = Histogram()
    seen.update(values.astype(np.float32))
    return Mass.of(seen)


def test_outliers_are_cut_off_on_both_sides():
    values = np.random.default_rng(0).normal(size=100_000)
    low, high = least_divergence(mass(np.append(values, [20.0, -15.0])), 256)
    assert low == -high
    assert 3 < high < 10


def test_the_cut_does_not_leave_the_values():
    values = np.random.default_rng(0).normal(size=100_000)
    low, high = least_divergence(mass(np.append(np.maximum(values, -0.25), 20.0)), 256)
    assert (low, high < 20) == (-0.25, True)


def test_with_as_many_levels_as_bins_nothing_is_lost():
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    assert least_divergence(mass(values), 65536) == (values.min(), values.max())


def test_exact_zeros_say_nothing():
    values = np.abs(np.random.default_rng(0).normal(size=100_000))
    assert least_divergence(mass(values), 256) == least_divergence(
        mass(np.append(values, np.zeros(10**6))), 256
    )
