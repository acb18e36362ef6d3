"""A K×K convolution as depthwise filters and a pointwise convolution behind them.

The weights of input channel c, a matrix of (outputs, kernel positions), become a product of rank r: r filters
D_c over the positions, and P_c, which mixes their results into the outputs. What is to be small is the error
of the outputs over the inputs, E‖y − Σ_c P_c·D_c·x_c‖², in which channels are tied by their covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_pare.sparsity.normal_equations import Statistics

Array = np.ndarray[Any, Any]
# sweeps over all channels
SWEEPS = 4


@dataclass(frozen=True)
class Separable:
    """Factors of one convolution.

    Attributes:
        depthwise: Filters, shape (channels, rank, positions).
        pointwise: Shape (outputs, channels, rank).
    """

    depthwise: Array
    pointwise: Array

    @property
    def rank(self) -> int:
        """Filters per input channel."""
        return int(self.depthwise.shape[1])

    def dense(self) -> Array:
        """Return the weights of one convolution, shape (outputs, channels · positions)."""
        product = np.einsum("ocr,crk->ock", self.pointwise, self.depthwise)
        return np.asarray(product.reshape(len(product), -1))


def decompose(weights: Array, channels: int, rank: int) -> Separable:
    """Return the factors nearest to the weights themselves: an SVD per input channel, no data.

    Args:
        weights: Shape (outputs, channels · positions).
        channels: Input channels.
        rank: Filters per channel.
    """
    matrices = weights.reshape(len(weights), channels, -1).transpose(1, 0, 2)
    filters = _leading(matrices.transpose(0, 2, 1) @ matrices, rank)
    return _separable(filters, filters @ matrices.transpose(0, 2, 1))


def fit(statistics: Statistics, channels: int, rank: int, start: Array, sweeps: int = SWEEPS) -> Separable:
    """Return the factors whose outputs come nearest to those wanted.

    Block coordinate descent: the factors of a channel are, all others given, a truncated SVD of what is left
    for it, weighted by the Cholesky factor of its patch covariance; after each sweep over the channels all
    pointwise weights are solved together. Starts from the SVD of `start`, weighted likewise. No step makes
    the error larger.

    Args:
        statistics: Of the layer's inputs and wanted outputs, with a ridge (`Statistics.ridged`).
        channels: Input channels.
        rank: Filters per channel; with as many as kernel positions nothing is lost.
        start: Weights, shape (outputs, channels · positions).
        sweeps: Sweeps over the channels.
    """
    from threadpoolctl import threadpool_limits

    # many small products: threads would wait for each other, on a busy machine for long
    with threadpool_limits(1, "blas"):
        return _fit(statistics.xx[0], statistics.xy[0], channels, rank, start, sweeps)


def _fit(xx: Array, xy: Array, channels: int, rank: int, start: Array, sweeps: int) -> Separable:
    positions = xx.shape[0] // channels
    every = np.arange(channels)
    own = xx.reshape(channels, positions, channels, positions)[every, :, every]
    factors = np.linalg.cholesky(own)
    inverses = np.linalg.inv(factors)
    weighted = start.reshape(len(start), channels, positions).transpose(1, 0, 2) @ factors
    filters = _leading(weighted.transpose(0, 2, 1) @ weighted, rank) @ inverses
    mixed = _mixed(filters, xx, xy)
    for _ in range(sweeps):
        _sweep(filters, mixed, xx, xy, inverses)
        mixed = _mixed(filters, xx, xy)
    return _separable(filters, mixed)


def _leading(grams: Array, count: int) -> Array:
    """Return the eigenvectors of the largest eigenvalues of matrices, as rows."""
    _, vectors = np.linalg.eigh(grams)
    return np.asarray(vectors[..., ::-1][..., :count].swapaxes(-1, -2))


def _mixed(filters: Array, xx: Array, xy: Array) -> Array:
    """Return the pointwise weights that are best with these filters, shape (channels, rank, outputs)."""
    channels, rank, positions = filters.shape
    width = channels * rank
    half = (filters @ xx.reshape(channels, positions, -1)).reshape(width, channels, positions)
    hidden = (half.transpose(1, 0, 2) @ filters.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(width, width)
    target = (filters @ xy.reshape(channels, positions, -1)).reshape(width, -1)
    # filters of one channel may come out alike
    hidden[np.arange(width), np.arange(width)] += 1e-9 * np.trace(hidden) / width
    return np.asarray(np.linalg.solve(hidden, target).reshape(channels, rank, -1))


def _sweep(filters: Array, mixed: Array, xx: Array, xy: Array, inverses: Array) -> None:
    """Make the factors of one channel after the other the best, in place."""
    positions = filters.shape[2]
    dense = (filters.transpose(0, 2, 1) @ mixed).reshape(len(xx), -1)
    left = xy - xx @ dense
    for channel, inverse in enumerate(inverses):
        at = slice(channel * positions, (channel + 1) * positions)
        # L⁻¹ times what this channel should give when all others stay
        wanted = inverse @ (left[at] + xx[at, at] @ dense[at])
        leading = _leading(wanted @ wanted.T, filters.shape[1])
        filters[channel], mixed[channel] = leading @ inverse, leading @ wanted
        found = filters[channel].T @ mixed[channel]
        left -= xx[:, at] @ (found - dense[at])
        dense[at] = found


def _separable(filters: Array, mixed: Array) -> Separable:
    return Separable(filters, np.ascontiguousarray(mixed.transpose(2, 0, 1)))
