"""Streaming observers: what a tensor's values look like, in memory that does not grow with the samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
# elements handled at a time: the scratch arrays fit into the L2 cache, and stay below the size from which
# malloc asks the system for fresh pages each time (four times slower)
BLOCK = 1 << 15


class Observer(Protocol):
    """Sees every value of one tensor once."""

    def update(self, array: Array) -> None:
        """Take in one more activation of the tensor; any shape."""
        ...


@dataclass(frozen=True)
class Several:
    """Observers of one tensor that look at it together."""

    observers: Sequence[Observer]

    def update(self, array: Array) -> None:
        """Show the activation to all of them."""
        for observer in self.observers:
            observer.update(array)


@dataclass
class MinMax:
    """The smallest and the largest finite value seen; 0 to 0 before the first."""

    low: float = 0.0
    high: float = 0.0
    seen: bool = False

    def update(self, array: Array) -> None:
        """Widen the range to hold `array`."""
        self.merge(_finite(array)[1])

    def merge(self, other: MinMax) -> None:
        """Widen the range to hold another's."""
        if not other.seen:
            return
        self.low = min(self.low, other.low) if self.seen else other.low
        self.high = max(self.high, other.high) if self.seen else other.high
        self.seen = True

    def range(self) -> tuple[float, float]:
        """Return (lowest, highest)."""
        return self.low, self.high


def _finite(array: Array) -> tuple[Array, MinMax]:
    """Return the finite values in one row, and their extremes."""
    flat = array.reshape(-1)
    if flat.size == 0:
        return flat, MinMax()
    low, high = float(flat.min()), float(flat.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return _finite(flat[np.isfinite(flat)])
    return flat, MinMax(low, high, seen=True)


class Histogram:
    """Counts of values in bins of a width that is a power of two and starts at zero.

    Bin i holds [i·w, (i+1)·w). When a value does not fit, w doubles and neighbouring bins are added up: so
    the result depends neither on the order nor on the batch size of the samples, and two histograms merge
    exactly. At least `BINS / 2` bins lie between zero and the largest magnitude.

    Attributes:
        extremes: The smallest and the largest value.
        counts: Shape (2 · BINS,): values in each bin; bin 0 is at index BINS.
        exponent: w is two to this power.
        zeros: How many values were exactly zero.
        at_low: How many were exactly the smallest.
        at_high: How many were exactly the largest.
    """

    BINS = 2048  # on each side of zero
    FINEST = -1000  # exponent of a width that holds nothing: the first value widens it

    def __init__(self) -> None:
        self.extremes = MinMax()
        self.counts = np.zeros(2 * self.BINS, np.int64)
        self.exponent = self.FINEST
        self.zeros = self.at_low = self.at_high = 0

    @property
    def width(self) -> float:
        """The width of one bin."""
        return 2.0**self.exponent

    def update(self, array: Array) -> None:
        """Count the values of `array`; those that are not finite are left out."""
        flat, found = _finite(array)
        if not found.seen:
            return
        magnitude = max(abs(found.low), abs(found.high), 1e-30)
        self._widen(math.ceil(math.log2(magnitude / (self.BINS - 1))))
        zeros = self._count(flat, signed=found.low < 0)
        self.zeros += zeros
        self._merge_ends(found, *(self._repeated(flat, end, zeros) for end in found.range()))

    def _count(self, flat: Array, *, signed: bool) -> int:
        """Add to the counts, and return how many values are zero.

        A signed tensor needs both halves of the bins, the output of a Relu only one: there, truncating and
        rounding down are the same.
        """
        counts = self.counts[0 if signed else self.BINS :]
        inverse = np.float32(1.0 / self.width)
        size = min(flat.size, BLOCK)
        scaled, index = np.empty(size, np.float32), np.empty(size, np.int32)
        nonzero = np.empty(size, np.bool_)
        zeros = flat.size
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK]
            size = len(block)
            zeros -= int(np.count_nonzero(np.not_equal(block, 0, out=nonzero[:size])))
            np.multiply(block, inverse, out=scaled[:size])
            if signed:
                np.floor(scaled, out=scaled)
            np.copyto(index, scaled, casting="unsafe")
            if signed:
                index += self.BINS
            counts += np.bincount(index[:size], minlength=len(counts))
        return zeros

    def _repeated(self, flat: Array, end: float, zeros: int) -> int:
        """Count what is exactly `end`, unless more extreme values were seen before."""
        if end == 0:
            return zeros
        within = self.extremes.seen and self.extremes.low < end < self.extremes.high
        return 0 if within else int(np.count_nonzero(flat == end))

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        self._merge_ends(other.extremes, other.at_low, other.at_high)
        self.zeros += other.zeros
        self._widen(other.exponent)
        counts = other.counts
        if other.extremes.seen:
            for _ in range(self.exponent - other.exponent):
                counts = _halved(counts)
        self.counts = self.counts + counts

    def quantile(self, q: float) -> float:
        """Return the value below which the fraction `q` of the counted values lies, linear inside a bin."""
        total = int(self.counts.sum())
        if total == 0:
            return 0.0
        cumulative = np.cumsum(self.counts)
        target = q * total
        place = min(int(np.searchsorted(cumulative, target, side="left")), len(self.counts) - 1)
        below = float(cumulative[place - 1]) if place else 0.0
        inside = (target - below) / max(float(self.counts[place]), 1.0)
        value = (place - self.BINS + inside) * self.width
        return float(np.clip(value, self.extremes.low, self.extremes.high))

    def range(self, percentile: float) -> tuple[float, float]:
        """Return the range that holds all but (100 − `percentile`) % of the values at either end."""
        tail = 1.0 - percentile / 100.0
        return self.quantile(tail), self.quantile(1.0 - tail)

    def _merge_ends(self, found: MinMax, at_low: int, at_high: int) -> None:
        """Widen the extremes, and count only what equals the new ones."""
        old = MinMax(*self.extremes.range(), self.extremes.seen)
        self.extremes.merge(found)
        new = self.extremes
        self.at_low = self.at_low * (old.low == new.low) + at_low * (found.low == new.low)
        self.at_high = self.at_high * (old.high == new.high) + at_high * (found.high == new.high)

    def _widen(self, exponent: int) -> None:
        if not self.counts.any():
            self.exponent = max(self.exponent, exponent)
        while self.exponent < exponent:
            self.counts = _halved(self.counts)
            self.exponent += 1


def _halved(counts: Array) -> Array:
    """Return the counts over bins twice as wide: zero stays between the two middle bins."""
    pairs = counts.reshape(-1, 2).sum(axis=1)
    wide = np.zeros_like(counts)
    quarter = len(counts) // 4
    wide[quarter : quarter + len(pairs)] = pairs
    return wide
