"""The largest magnitude of every channel of a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass
class Peaks:
    """Largest finite magnitudes along axis 1, taken in as an observer; None before the first activation."""

    found: Array | None = None

    def update(self, array: Array) -> None:
        """Take in one more activation, shape (samples, channels, …)."""
        if array.ndim < 2 or array.size == 0:
            return
        others = tuple(axis for axis in range(array.ndim) if axis != 1)
        peaks = np.maximum(array.max(axis=others), -array.min(axis=others)).astype(np.float64)
        peaks[~np.isfinite(peaks)] = 0.0
        self.found = peaks if self.found is None else np.maximum(self.found, peaks)
