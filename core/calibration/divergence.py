"""Choosing a range by the information that quantizing loses."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_pare.calibration.mass import Mass

Array = np.ndarray[Any, Any]
# thresholds tried
CANDIDATES = 128


def least_divergence(mass: Mass, levels: int) -> tuple[float, float]:
    """Return the range that loses the least information (Migacz 2017, "8-bit Inference with TensorRT").

    Magnitudes are cut at t, the same on both sides of zero. P holds their counts in the bins up to t, with
    everything beyond added to the last bin; Q the counts up to t, merged into as many groups as there are
    levels for magnitudes and spread again over each group's occupied bins. t minimizes
    KL(P‖Q) = Σ P log(P/Q). Exact zeros are left out: they say nothing about t. With

        G_j, m_j   count and occupied bins of group j, of the bins up to t
        o          values beyond t,   T = Σ G_j + o

    T · KL = Σ_k c_k log c_k − T log T − Σ_j (G_j + [j last] o) log(G_j / m_j) + T log(T − o), c_k being the
    counts of P: all of these come from running sums.

    With no more bins than levels nothing is merged or lost, and the extremes are returned.
    """
    low, high = min(mass.low, 0.0), max(mass.high, 0.0)
    counts = _magnitudes(mass)
    groups = levels // 2 if low < 0 < high else levels
    if len(counts) <= groups:
        return low, high
    ends = np.unique(np.linspace(groups, len(counts), CANDIDATES).astype(np.int64))[::-1]
    best = int(ends[np.argmin(_divergences(counts, ends, groups))])
    if best == len(counts):
        return low, high
    return max(low, -best * mass.width), min(high, best * mass.width)


def _magnitudes(mass: Mass) -> Array:
    """Return counts of magnitudes in bins from zero up."""
    size = int(np.floor(max(-mass.low, mass.high, 0.0) / mass.width)) + 1
    bins = np.diff(mass.count)
    places = np.floor((mass.edges[1:] + mass.edges[:-1]) / 2 / mass.width).astype(np.int64)
    counts = np.bincount(np.where(places < 0, -1 - places, places), weights=bins, minlength=size)
    for value, repeated in ((-mass.low, mass.at_low), (mass.high, mass.at_high)):
        counts[int(np.floor(max(value, 0.0) / mass.width))] += repeated
    return counts


def _divergences(counts: Array, ends: Array, groups: int) -> Array:
    """Return T · (KL(P‖Q) + log T) for each threshold, in bins."""
    below = np.concatenate([[0.0], np.cumsum(counts)])
    occupied = np.concatenate([[0], np.cumsum(counts > 0)])
    own = np.concatenate([[0.0], np.cumsum(_times_log(counts))])
    bounds = np.arange(groups + 1) * ends[:, None] // groups
    sums, used = np.diff(below[bounds]), np.diff(occupied[bounds])
    total = below[-1]
    beyond, last = total - below[ends], counts[ends - 1]
    used[:, -1] += (last == 0) & (beyond > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(sums / used)
        weights = sums.copy()
        weights[:, -1] += beyond
        known = np.where(weights > 0, weights * logs, 0.0).sum(axis=1)
        spread = total * np.log(total - beyond)
        found = own[ends] - _times_log(last) + _times_log(last + beyond) - known + spread
    return np.where(np.isnan(found), np.inf, found)


def _times_log(counts: Array) -> Array:
    return np.asarray(counts * np.log(np.maximum(counts, 1.0)))
