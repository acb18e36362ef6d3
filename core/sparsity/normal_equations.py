"""Least squares for one layer, from sums over its inputs and outputs.

A layer computes y = W·x + b for every patch x. The weights that come nearest to given outputs in the mean
square solve the normal equations (E[xxᵀ] + λI) Wᵀ = E[xyᵀ] + λW₀ᵀ, all centred: b takes the means. λ keeps
directions that the samples hardly show as they are in W₀ (ridge: Hoerl and Kennard 1970), as if white noise
of variance λ went through both. Memory grows with the square of the inputs, never with the samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnx_pare.calibration.window import Window

Array = np.ndarray[Any, Any]
# rows taken of all samples together: as many as keep the sums at about this many multiply-accumulates
WORK_MACS = 1e11
MOST_ROWS, ROWS_PER_INPUT = 1 << 14, 8
# layers of more inputs are better left alone: their moments take gigabytes
MOST_INPUTS = 6000
# λ as a share of the mean variance of the inputs: with rows without end, and what is added with as many rows
# as inputs or fewer; rows that lie side by side resemble each other and tell less than their number
RIDGE, SCARCE = 1e-4, 1.0
# what a variance may be wrong by, as a share of the squared mean that was taken off
ROUNDING = 1e-6
# sum of squares from which the sums over all rows of a batch may exceed float32
HUGE = float(np.finfo(np.float32).max) / 1e6


@dataclass(frozen=True)
class Statistics:
    """Second moments of a layer's inputs and outputs, centred.

    Attributes:
        xx: Cov[x], shape (groups, inputs, inputs).
        xy: Cov[x, y], shape (groups, inputs, outputs).
        yy: Var[y], shape (groups, outputs).
        x_mean: E[x], shape (groups, inputs).
        y_mean: E[y], shape (groups, outputs).
        rows: How many patches that rests on.
    """

    xx: Array
    xy: Array
    yy: Array
    x_mean: Array
    y_mean: Array
    rows: int

    def ridged(self, prior: Array, ridge: float | None = None) -> Statistics:
        """Return the statistics as if white noise went through inputs and, by the weights `prior`, outputs.

        Args:
            prior: Weights, shape (groups, outputs, inputs).
            ridge: Its variance, as a share of the mean variance of the inputs; by default the larger, the
                fewer rows there are for each input.
        """
        if ridge is None:
            ridge = RIDGE + SCARCE * min(1.0, self.xx.shape[1] / self.rows)
        variances = np.diagonal(self.xx, axis1=1, axis2=2)
        rounding = ROUNDING * np.square(self.x_mean).mean(axis=1)
        noise = ridge * variances.mean(axis=1) + rounding + np.finfo(np.float32).tiny
        xx = self.xx.copy()
        diagonal = np.arange(xx.shape[1])
        xx[:, diagonal, diagonal] += noise[:, None]
        xy = self.xy + noise[:, None, None] * prior.transpose(0, 2, 1)
        yy = self.yy + noise[:, None] * np.square(prior).sum(axis=2)
        return Statistics(xx, xy, yy, self.x_mean, self.y_mean, self.rows)

    def through_origin(self) -> Statistics:
        """Return the moments about zero, for a layer without a bias."""
        xx = self.xx + self.x_mean[:, :, None] * self.x_mean[:, None, :]
        xy = self.xy + self.x_mean[:, :, None] * self.y_mean[:, None, :]
        yy = self.yy + np.square(self.y_mean)
        return Statistics(xx, xy, yy, np.zeros_like(self.x_mean), np.zeros_like(self.y_mean), self.rows)

    def solve(self) -> Array:
        """Return the weights of least mean square error, shape (groups, outputs, inputs).

        Raises:
            numpy.linalg.LinAlgError: The inputs depend on each other linearly: give them a ridge first.
        """
        return np.asarray(np.linalg.solve(self.xx, self.xy).transpose(0, 2, 1))

    def bias(self, weights: Array) -> Array:
        """Return the bias that goes with weights, shape (groups, outputs)."""
        return np.asarray(self.y_mean - np.einsum("gok,gk->go", weights, self.x_mean))

    def error(self, weights: Array) -> Array:
        """Return E[(y − W·x − b)²] with the best b, shape (groups, outputs)."""
        through = weights @ self.xx - 2 * self.xy.transpose(0, 2, 1)
        return np.asarray(np.maximum(self.yy + (through * weights).sum(axis=2), 0.0))


@dataclass
class NormalEquations:
    """Sums over the patches of a layer's input and over the outputs that it should have there.

    Attributes:
        window: Where the layer looks.
        samples: Samples it will see, to spread the rows over.
        most_rows: Rows taken of all samples at most; None: by the number of inputs.
    """

    window: Window
    samples: int
    most_rows: int | None = None
    rows: int = 0
    _sums: dict[str, Array] = field(default_factory=dict)
    _updates: int = 0

    def update(self, inputs: Array, outputs: Array) -> None:
        """Take in one more batch: inputs (samples, channels, …) or (…, inputs), and outputs likewise.

        Rows that are not finite, or whose squares might not be, are left out.
        """
        width = self._width(inputs)
        share = -(-(self.most_rows or _rows(width)) // max(self.samples, 1)) * max(inputs.shape[0], 1)
        places = self.window.draw(inputs, share, np.random.default_rng(self._updates))
        self._updates += 1
        self.add(self.window.patches(inputs, places), self.window.outputs(outputs, places))

    def add(self, x: Array, y: Array) -> None:
        """Add rows, shapes (groups, rows, inputs) and (groups, rows, outputs)."""
        x, y = x.astype(np.float32, copy=False), y.astype(np.float32, copy=False)
        finite = (_energy(x) < HUGE) & (_energy(y) < HUGE)
        if not finite.all():
            x, y = x[:, finite], y[:, finite]
        found = {
            "xx": x.transpose(0, 2, 1) @ x,
            "xy": x.transpose(0, 2, 1) @ y,
            "yy": np.square(y, dtype=np.float64).sum(axis=1),
            "x": x.sum(axis=1, dtype=np.float64),
            "y": y.sum(axis=1, dtype=np.float64),
        }
        for name, array in found.items():
            if name not in self._sums:
                self._sums[name] = array.astype(np.float64)
            else:
                self._sums[name] += array
        self.rows += x.shape[1]

    def statistics(self) -> Statistics:
        """Return the moments.

        Raises:
            ValueError: No rows were taken in.
        """
        if not self.rows:
            raise ValueError("no rows were taken in")
        mean = {name: total / self.rows for name, total in self._sums.items()}
        x, y, xx, xy = (mean[name] for name in ("x", "y", "xx", "xy"))
        xx -= x[:, :, None] * x[:, None, :]
        xy -= x[:, :, None] * y[:, None, :]
        return Statistics(xx, xy, np.maximum(mean["yy"] - y * y, 0.0), x, y, self.rows)

    def _width(self, inputs: Array) -> int:
        if not self.window.kernel:
            return int(inputs.shape[-1])
        return int(inputs.shape[1]) // self.window.groups * self.window.positions


def collect(
    window: Window, samples: int, batches: Iterable[tuple[Array, Array]], most_rows: int | None = None
) -> Statistics | None:
    """Return the statistics of a layer over batches of (inputs, outputs); None if no row was finite."""
    equations = NormalEquations(window, samples, most_rows)
    for inputs, outputs in batches:
        equations.update(inputs, outputs)
    return equations.statistics() if equations.rows else None


def _energy(rows: Array) -> Array:
    """Return the sum of squares of each row, shape (rows,); inf or NaN where that is beyond float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.einsum("grk,grk->r", rows, rows))


def _rows(width: int) -> int:
    """Return how many rows pay: several per unknown, and no more work than needed."""
    return int(np.clip(WORK_MACS / width**2, ROWS_PER_INPUT * width, MOST_ROWS)) if width else 1
