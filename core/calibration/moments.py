"""What a layer's inputs look like to its weights: mean and covariance of the patches it multiplies.

A layer computes y = W · x + b, x being a row of a matrix or the patch under a convolution's kernel. An error
ΔW of the weights changes y by ΔW · x: by ΔW · E[x] on average, which a bias corrects, and by a variance of
ΔW · Cov[x] · ΔWᵀ around that, which nothing does. These two moments are all that rounding needs to know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# rows taken of all samples together: several per unknown of a block
ROWS = 2048
# inputs whose covariance is kept with each other; with all of them, memory would grow with their square
BLOCK = 144
# patches that are added to the sums together
AT_ONCE = 256


@dataclass(frozen=True)
class Window:
    """Where a convolution's kernel looks, over any number of spatial axes; no axes: the rows of a matrix.

    Attributes:
        kernel: Size of the kernel by axis.
        strides: Likewise.
        dilations: Likewise.
        pads: Zeros before and after each axis: the two lists of ONNX, one behind the other.
        groups: Groups of channels.
    """

    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    groups: int = 1

    def patches(self, array: Array, count: int, rng: np.random.Generator) -> Array:
        """Return up to `count` patches drawn from an activation, shape (groups, count, inputs of a group).

        Inputs are in the order of the weight's memory: channel, then kernel position.
        """
        if not self.kernel:
            rows = array.reshape(-1, array.shape[-1])
            return rows[_draw(len(rows), count, rng)][None]
        axes = len(self.kernel)
        padding = [(0, 0), (0, 0), *zip(self.pads[:axes], self.pads[axes:], strict=True)]
        padded = np.pad(array, padding) if any(self.pads) else array
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + axes)))
        every = (slice(None), slice(None))
        steps = tuple(slice(None, None, step) for step in (*self.strides, *self.dilations))
        windows = windows[every + steps]
        shape = (windows.shape[0], *windows.shape[2 : 2 + axes])
        at: Any = np.unravel_index(_draw(int(np.prod(shape)), count, rng), shape)
        place = (at[0], slice(None), *at[1:])
        drawn = windows[place]
        of_groups = drawn.reshape(len(drawn), self.groups, -1)
        return np.ascontiguousarray(of_groups.transpose(1, 0, 2))


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
        patches = self.window.patches(array, share, np.random.default_rng(self._updates))
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
        block = _block(self._width, int(np.prod(self.window.kernel, dtype=int)))
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


def _draw(total: int, count: int, rng: np.random.Generator) -> Array:
    """Return `count` of `total` positions in ascending order, all if there are no more."""
    if count >= total:
        return np.arange(total)
    return np.sort(rng.choice(total, size=count, replace=False, shuffle=False))
