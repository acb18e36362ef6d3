"""The values of a histogram as sums that answer "how much lies below x" at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_pare.calibration.observers import Histogram

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Mass:
    """Running sums over the occupied bins, whose values count as spread evenly over each.

    Exact zeros, and values that are exactly the extremes (where these are beyond zero), are kept apart: they
    quantize without error.

    Attributes:
        edges: Shape (bins + 1,), ascending, from `low` to `high`; zero is one of them if it lies between.
        count: Shape (bins + 1,): how many values lie below each edge.
        first: Their sum.
        square: Their sum of squares.
        density: Shape (bins + 1,): values per width of each bin, and 0 for what is beyond all bins.
        low: The lowest value seen.
        high: The highest.
        at_low: How many values are exactly `low`, if that is below zero.
        at_high: How many are exactly `high`, if that is above zero.
        total: How many values there are, zeros and all.
        signal: The sum of squares of all.
        width: Width of a bin.
    """

    edges: Array
    count: Array
    first: Array
    square: Array
    density: Array
    low: float
    high: float
    at_low: int
    at_high: int
    total: int
    signal: float
    width: float

    @staticmethod
    def of(histogram: Histogram) -> Mass:
        """Return the sums of a histogram."""
        low, high = histogram.extremes.range()
        at_low = histogram.at_low if low < 0 else 0
        at_high = histogram.at_high if high > 0 else 0
        bins, width, middle = histogram.counts.astype(np.float64), histogram.width, histogram.BINS
        total = int(histogram.counts.sum())
        places = [math.floor(value / width) + middle for value in (low, 0.0, high)]
        np.subtract.at(bins, places, [at_low, histogram.zeros, at_high])
        bins = np.maximum(bins[places[0] : places[2] + 1], 0.0)
        edges = np.arange(places[0] - middle, places[2] - middle + 2) * width
        edges[0], edges[-1] = low, high
        widths, centre = np.diff(edges), (edges[1:] + edges[:-1]) / 2
        count, first, square = (
            np.concatenate([[0.0], np.cumsum(terms)])
            for terms in (bins, bins * centre, bins * (centre**2 + widths**2 / 12))
        )
        density = np.append(np.divide(bins, widths, out=np.zeros_like(bins), where=widths > 0), 0.0)
        signal = float(square[-1] + at_low * low**2 + at_high * high**2)
        return Mass(edges, count, first, square, density, low, high, at_low, at_high, total, signal, width)

    def at(self, sums: Array, positions: Array) -> Array:
        """Return one of the running sums at any positions, linear inside of bins."""
        return np.asarray(np.interp(positions, self.edges, sums))

    def beyond(self, ends: Array, side: int) -> tuple[Array, Array]:
        """Return for each end how many values lie beyond it, and their sum of squared distances to it.

        Those that are exactly an extreme are left out.

        Args:
            ends: Any positions.
            side: −1: values below the end, 1: values above it.
        """
        bins = len(self.edges) - 1
        place = np.searchsorted(self.edges, ends, "right" if side < 0 else "left") - (side < 0)
        nearest = np.clip(place, 0, bins)  # the edge next to the end, beyond it
        count, first, square = (
            sums[nearest] if side < 0 else sums[-1] - sums[nearest]
            for sums in (self.count, self.first, self.square)
        )
        part = np.maximum(side * (self.edges[nearest] - ends), 0.0)  # of the bin that the end cuts
        density = self.density[nearest - (side > 0)]
        away = np.maximum(square - 2 * ends * first + ends**2 * count, 0.0)
        return count + density * part, away + density * part**3 / 3
