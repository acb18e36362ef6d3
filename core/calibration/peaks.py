"""The largest magnitude of every channel of a tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass
class Peaks:
    """Largest finite magnitudes along axis 1, in two halves of the samples, taken in as an observer."""

    halves: list[Array] = field(default_factory=list)
    _updates: int = 0

    def update(self, array: Array) -> None:
        """Take in one more activation, shape (samples, channels, …)."""
        if array.ndim < 2 or array.size == 0:
            return
        parts = (array[::2], array[1::2]) if len(array) > 1 else (array,)
        for part in parts:
            self._take(part)

    def highest(self) -> float:
        """Return the largest magnitude of all channels."""
        return max((float(half.max(initial=0.0)) for half in self.halves), default=0.0)

    def expected(self) -> Array:
        """Return the magnitude to be prepared for in each channel, shape (channels,); inf where unknown.

        With a and b the largest magnitudes in either half of the samples, a ≥ b: a · (a / b). Where half of
        the samples says little about the other half, all of them say little about what comes.
        """
        if len(self.halves) < 2:
            return np.full(len(self.halves[0]) if self.halves else 0, np.inf)
        high, low = np.maximum(*self.halves), np.minimum(*self.halves)
        ratio = np.divide(high, low, out=np.ones(high.shape), where=low > 0)
        return np.where((high > 0) & (low <= 0), np.inf, high * ratio)

    def _take(self, part: Array) -> None:
        others = tuple(axis for axis in range(part.ndim) if axis != 1)
        peaks = np.maximum(part.max(axis=others), -part.min(axis=others)).astype(np.float64)
        peaks[~np.isfinite(peaks)] = 0.0
        half = self._updates % 2
        self._updates += 1
        if half < len(self.halves):
            np.maximum(self.halves[half], peaks, out=self.halves[half])
        else:
            self.halves.append(peaks)
