"""Medians and their intervals, for timings on machines that others use too.

Intervals are percentile bootstrap intervals: the data are drawn again with replacement many times, the median
of each draw is taken, and the interval holds the middle 95 % of those medians. It assumes no shape of the
noise, which on a shared machine is one-sided with long tails.

Sources: B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1), 1979;
B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3 (percentile interval).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]

RESAMPLES = 1000
CONFIDENCE = 0.95


def median(values: Floats) -> float:
    """Return the median of `values`, shape (n,), n >= 1."""
    return float(np.median(values))


def percentile(values: Floats, percent: float) -> float:
    """Return the value below which `percent` of `values` lie, interpolated linearly."""
    return float(np.percentile(values, percent))


def median_interval(values: Floats, seed: int = 0) -> Interval:
    """Return the 95 % percentile bootstrap interval of the median of `values`, shape (n,), n >= 1.

    The same values and seed give the same interval. One value alone gives an interval of no width: it says
    nothing about how sure the value is.
    """
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    medians = np.median(values[draws], axis=1)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(medians, (tail, 100 - tail))
    return float(low), float(high)


def half_width(values: Floats, seed: int = 0) -> float:
    """Return half the width of the median's interval, as a fraction of the median (0.02: ±2 %)."""
    low, high = median_interval(values, seed)
    return (high - low) / 2 / median(values)
