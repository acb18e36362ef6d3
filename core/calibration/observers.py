"""Streaming observers: what a tensor's values look like, in memory that does not grow with the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
# elements handled at a time: an L2 cache full, several times faster than whole activations
BLOCK = 1 << 16


class Observer(Protocol):
    """Sees every value of one tensor once."""

    def update(self, array: Array) -> None:
        """Take in one more activation of the tensor; any shape."""
        ...


@dataclass
class MinMax:
    """The smallest and the largest finite value seen; 0 to 0 before the first."""

    low: float = 0.0
    high: float = 0.0
    seen: bool = False

    def update(self, array: Array) -> None:
        """Widen the range to hold `array`."""
        if array.size == 0:
            return
        low, high = float(array.min()), float(array.max())
        if not np.isfinite(low + high):
            finite = array[np.isfinite(array)]
            if finite.size == 0:
                return
            low, high = float(finite.min()), float(finite.max())
        self.low = min(self.low, low) if self.seen else low
        self.high = max(self.high, high) if self.seen else high
        self.seen = True

    def range(self) -> tuple[float, float]:
        """Return (lowest, highest)."""
        return self.low, self.high


class Histogram:
    """Counts of values in bins of a width that is a power of two and starts at zero.

    Bin i holds [i·w, (i+1)·w). When a value does not fit, w doubles and neighbouring bins are added up: so
    the result depends neither on the order nor on the batch size of the samples, and two histograms merge
    exactly. At least `BINS / 2` bins lie between zero and the largest magnitude.
    """

    BINS = 2048  # on each side of zero

    def __init__(self) -> None:
        self.extremes = MinMax()
        self.counts = np.zeros(2 * self.BINS, np.int64)
        self._exponent: int | None = None

    @property
    def width(self) -> float:
        """The width of one bin."""
        return 2.0 ** (self._exponent if self._exponent is not None else 0)

    def update(self, array: Array) -> None:
        """Count the values of `array`; those that are not finite are left out."""
        flat = array.reshape(-1)
        before = MinMax()
        before.update(flat)
        if not before.seen:
            return
        self.extremes.update(np.array([before.low, before.high]))
        self._fit(max(abs(before.low), abs(before.high)))
        # a signed tensor needs both halves of the bins, the output of a Relu only one
        first = 0 if before.low < 0 else self.BINS
        inverse = np.float32(1.0 / self.width)
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK]
            if not np.isfinite(block.sum()):
                block = block[np.isfinite(block)]
            index = (block * inverse + np.float32(self.BINS - first)).astype(np.int32)
            counts = np.bincount(index, minlength=2 * self.BINS - first)
            self.counts[first:] += counts[: 2 * self.BINS - first]

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        if other._exponent is None:
            return
        self._fit(max(abs(other.extremes.low), abs(other.extremes.high)))
        self.extremes.update(np.array([other.extremes.low, other.extremes.high]))
        counts = other.counts
        assert self._exponent is not None
        while other._exponent < self._exponent:
            counts = _halved(counts)
            other = _widened(other, counts)
            assert other._exponent is not None
        while self._exponent < other._exponent:
            self.counts, self._exponent = _halved(self.counts), self._exponent + 1
        self.counts = self.counts + counts

    def quantile(self, q: float) -> float:
        """Return the value below which the fraction `q` of the counted values lies, linear inside a bin."""
        total = int(self.counts.sum())
        if total == 0:
            return 0.0
        cumulative = np.cumsum(self.counts)
        target = q * total
        bin_ = int(np.searchsorted(cumulative, target, side="left"))
        bin_ = min(bin_, len(self.counts) - 1)
        below = float(cumulative[bin_ - 1]) if bin_ else 0.0
        inside = (target - below) / max(float(self.counts[bin_]), 1.0)
        value = (bin_ - self.BINS + inside) * self.width
        return float(np.clip(value, self.extremes.low, self.extremes.high))

    def range(self, percentile: float) -> tuple[float, float]:
        """Return the range that holds all but (100 − `percentile`) % of the values at either end."""
        tail = 1.0 - percentile / 100.0
        return self.quantile(tail), self.quantile(1.0 - tail)

    def _fit(self, magnitude: float) -> None:
        """Widen the bins until `magnitude` falls into one."""
        needed = int(np.ceil(np.log2(max(magnitude, 1e-30) / (self.BINS - 1))))
        if self._exponent is None:
            self._exponent = needed
        while self._exponent < needed:
            self.counts = _halved(self.counts)
            self._exponent += 1


def _halved(counts: Array) -> Array:
    """Return the counts over bins twice as wide: zero stays between the two middle bins."""
    pairs = counts.reshape(-1, 2).sum(axis=1)
    wide = np.zeros_like(counts)
    quarter = len(counts) // 4
    wide[quarter : quarter + len(pairs)] = pairs
    return wide


def _widened(histogram: Histogram, counts: Array) -> Histogram:
    wide = Histogram()
    wide.extremes, wide.counts = histogram.extremes, counts
    wide._exponent = (histogram._exponent or 0) + 1
    return wide
