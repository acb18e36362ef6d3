"""Counting zeros, per channel and per sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_pare.sparsity.integers import Stored
from onnx_pare.sparsity.share import Share, Zeros


@dataclass
class Spread:
    """Fractions counted in bins of a thousandth, so that percentiles take no memory per sample."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1001, np.int64))

    def add(self, fractions: NDArray[np.float64]) -> None:
        """Count some more fractions, each from 0 to 1."""
        bins = np.rint(fractions * (len(self.counts) - 1)).astype(np.int64)
        self.counts += np.bincount(bins, minlength=len(self.counts))

    def __len__(self) -> int:
        return int(self.counts.sum())

    def quantile(self, q: float) -> float:
        """Return the quantile to 0.0005, linear between two fractions as numpy's is."""
        place = q * (len(self) - 1)
        lower = int(place)
        below, above = np.searchsorted(self.counts.cumsum(), (lower, lower + (place > lower)), side="right")
        return float(round((below + (above - below) * (place - lower)) / (len(self.counts) - 1), 3))


@dataclass
class ZeroCounter:
    """Counts how much of a tensor is zero; a `calibration.observers.Observer`.

    Attributes:
        axis: Which axis counts channels, where there are two axes at least; −1 is the last. None for none,
            and from when their number was seen to depend on the sample.
        point: What stands for zero: the zero point, if the tensor holds integers.
        below: Count what lies below zero instead.
        elements: Elements seen.
    """

    axis: int | None = 1
    point: int = 0
    below: bool = False
    elements: int = 0
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))  # of each channel
    _found: int | None = None  # the axis, from 0 on
    _rows: Spread = field(default_factory=Spread)
    _calls: Spread = field(default_factory=Spread)

    def update(self, array: NDArray[Any]) -> None:
        """Count one more activation, of shape (batch, …)."""
        if not array.size:
            return
        hits = np.less(array, self.point) if self.below else np.equal(array, self.point)
        self._found = self.axis % array.ndim if self.axis is not None and array.ndim > 1 else None
        kept = {0, self._found}
        others = tuple(axis for axis in range(array.ndim) if axis not in kept)
        counts = np.atleast_1d(np.count_nonzero(hits, axis=others)).astype(np.int64)
        self._calls.add(np.array([counts.sum() / array.size]))
        if self._found != 0:
            counts = counts.reshape(len(counts), -1)
            self._rows.add(counts.sum(axis=1) / (array.size // len(counts)))
            counts = counts.sum(axis=0)
        self._add(counts)
        self.elements += array.size

    def share(self, samples: int = 0) -> Share:
        """Return the fractions over all that was seen; nothing seen counts as no zeros.

        Args:
            samples: How many samples that was. Percentiles are known if each was a call or a row.
        """
        if not self.elements:
            return Share(0.0)
        spread = next((each for each in (self._calls, self._rows) if 0 < len(each) == samples), None)
        per_channel = self._counts / (self.elements // len(self._counts))
        return Share(
            float(self._counts.sum() / self.elements),
            self._found,
            tuple(per_channel.tolist()) if self._found is not None else (),
            p10=spread.quantile(0.1) if spread else None,
            p90=spread.quantile(0.9) if spread else None,
        )

    def zeros(self, samples: int = 0) -> Zeros:
        """Return the same, and the channels that were zero throughout."""
        share = self.share(samples)
        dead = tuple(channel for channel, fraction in enumerate(share.per_channel) if fraction == 1)
        return Zeros(
            share.fraction, share.channel_axis, share.per_channel, dead, p10=share.p10, p90=share.p90
        )

    def _add(self, counts: NDArray[np.int64]) -> None:
        if self.elements and self._counts.shape != counts.shape:
            # the number of channels depends on the sample: only the total means something
            self._counts, counts = self._counts.sum(keepdims=True), counts.sum(keepdims=True)
            self.axis = self._found = None
        self._counts = self._counts + counts


class Counters:
    """One counter for each way to look at a tensor, shared by all that look alike."""

    def __init__(self) -> None:
        self._found: dict[tuple[Stored, int | None, bool], ZeroCounter] = {}

    def of(self, stored: Stored, axis: int | None, *, below: bool = False) -> ZeroCounter:
        """Return the counter of a tensor along an axis."""
        return self._found.setdefault((stored, axis, below), ZeroCounter(axis, stored.zero, below))

    def by_tensor(self) -> dict[str, list[ZeroCounter]]:
        """Return all counters by the name of the tensor they are to see."""
        names: dict[str, list[ZeroCounter]] = {}
        for (stored, _, _), counter in self._found.items():
            names.setdefault(stored.value.name or "", []).append(counter)
        return names
