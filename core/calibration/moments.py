"""What a layer's inputs look like to its weights: mean and covariance of the patches it multiplies.

A layer computes y = W · x + b, x being a row of a matrix or the patch under a convolution's kernel. An error
ΔW of the weights changes y by ΔW · x: by ΔW · E[x] on average, which a bias corrects, and by a variance of
ΔW · Cov[x] · ΔWᵀ around that, which nothing does. These two moments are all that rounding needs to know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnx_pare.calibration.window import Window

Array = np.ndarray[Any, Any]
# rows taken of all samples together: several per unknown of a block
ROWS = 2048
# inputs whose covariance is kept with each other; with all of them, memory would grow with their square
BLOCK = 144
# patches that are added to the sums together
AT_ONCE = 256


@dataclass
class Moments:
    """Sums over the patches of one layer's input, taken in as an observer.

    Attributes:
        window: Where the layer looks.
        samples: Samples it will see: a sample gives ROWS / samples patches.
        rows: Patches taken in.
    """

    window: Window
    samples: int
    rows: int = 0
    _width: int = 0
    _first: Array | None = None
    _second: Array | None = None
    _waiting: list[Array] = field(default_factory=list)
    _updates: int = 0

    def update(self, array: Array) -> None:
        """Take in one more activation, shape (samples, channels, …) or (…, inputs)."""
        share = -(-ROWS // max(self.samples, 1)) * max(array.shape[0] if array.ndim else 1, 1)
        places = self.window.draw(array, share, np.random.default_rng(self._updates))
        patches = self.window.patches(array, places)
        self._updates += 1
        if patches.size == 0 or not np.isfinite(patches.sum()):
            return
        self._waiting.append(patches)
        if sum(each.shape[1] for each in self._waiting) >= AT_ONCE:
            self._add()

    def mean(self) -> Array:
        """Return E[x], shape (groups, inputs)."""
        first, _ = self._sums()
        return np.asarray(first[:, : self._width] / self.rows)

    def covariance(self) -> Array:
        """Return Cov[x] by blocks, shape (groups, blocks, block, block); inputs beyond the last are 0."""
        first, second = self._sums()
        mean = (first / self.rows).reshape(*second.shape[:3])
        return np.asarray(second / self.rows - mean[..., :, None] * mean[..., None, :])

    def _sums(self) -> tuple[Array, Array]:
        self._add()
        if self._first is None or self._second is None:
            raise ValueError("no patches were taken in")
        return self._first, self._second

    def _add(self) -> None:
        """Add the patches that wait to the sums: many at once, for matrix products that pay."""
        if not self._waiting:
            return
        patches = np.concatenate(self._waiting, axis=1)
        self._waiting.clear()
        groups, count, self._width = patches.shape
        block = _block(self._width, self.window.positions)
        blocks = -(-self._width // block)
        if self._first is None or self._second is None:
            self._first = np.zeros((groups, blocks * block))
            self._second = np.zeros((groups, blocks, block, block))
        self._first[:, : self._width] += patches.sum(axis=1, dtype=np.float64)
        if blocks * block > self._width:
            patches = np.pad(patches, [(0, 0), (0, 0), (0, blocks * block - self._width)])
        split = np.ascontiguousarray(patches.reshape(groups, count, blocks, block).transpose(0, 2, 1, 3))
        self._second += split.transpose(0, 1, 3, 2) @ split
        self.rows += count

    def seen(self) -> bool:
        """Tell whether any patches were taken in."""
        return bool(self.rows or self._waiting)


def _block(width: int, positions: int) -> int:
    """Return how many inputs go together: all of them, or as many whole channels as BLOCK holds."""
    if width <= BLOCK:
        return width
    return max(positions * (BLOCK // positions), 1) if positions <= BLOCK else BLOCK
