"""Quantizing a weight matrix by itself: codes, and scales that make the squared error smallest.

A matrix of R outputs by K inputs is cut into blocks along its inputs, each with its own scale s, and a weight
w becomes the level q next to w / s. Of each block, s minimizes

    E(s) = Σ (w − s · q(w / s))²,   tried at s = −w_max / p for every peak p of the levels

where w_max is the weight of largest magnitude: a peak beyond the last level clips it. The best is then fitted
to its own levels by least squares, s = Σ w·q / Σ q², and that kept if E falls. The sign of s makes w_max meet
the negative end of uniform levels, which reaches one further than the positive one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_pare.quantization.affine import TINY
from onnx_pare.quantization.levels import Levels

Array = np.ndarray[Any, Any]
# (matrix (R, K), scale of every weight (R, K), levels) -> level of every weight (R, K). The one place where
# a rounding that knows the layer's inputs would differ from rounding to nearest.
Rounding = Callable[[Array, Array, Levels], Array]
# weights searched in one go, whatever the size of the matrix
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Quantized:
    """A quantized matrix.

    Attributes:
        codes: (R, K), int8 or uint8, one code each.
        scales: (R, blocks), float32.
        block: Weights of one row that share a scale; the last block of a row may hold fewer.
        signal: Σ w².
        noise: Σ (w − s·q)².
    """

    codes: Array
    scales: Array
    block: int
    signal: float
    noise: float


def round_to_nearest(matrix: Array, steps: Array, levels: Levels) -> Array:
    """Round each weight by itself."""
    return levels.nearest(matrix / steps)


def even_block(columns: int, block: int) -> int:
    """Return the block size nearest to `block` from below that cuts `columns` evenly.

    Below half of `block`, the size is taken instead that makes as few blocks as `block` does, the last one a
    little shorter.
    """
    if columns <= block:
        return columns
    even = (size for size in range(block, block // 2, -1) if columns % size == 0)
    return next(even, -(-columns // -(-columns // block)))


def quantize_matrix(
    matrix: Array,
    levels: Levels,
    block: int,
    *,
    positive: bool = False,
    rounding: Rounding = round_to_nearest,
) -> Quantized:
    """Quantize a float32 matrix (R, K) of finite numbers.

    Args:
        matrix: One row for each output.
        levels: What codes stand for.
        block: Weights of a row that share a scale; K for one scale per output.
        positive: Whether scales must be positive, as runtimes ask of DequantizeLinear.
        rounding: What chooses the level of each weight once the scales stand.
    """
    rows, columns = matrix.shape
    blocks = -(-columns // block)
    codes = np.empty((rows, columns), levels.codes.dtype)
    scales = np.empty((rows, blocks), np.float32)
    signal = noise = 0.0
    at_once = max(1, _CHUNK // columns)
    for start in range(0, rows, at_once):
        part = np.ascontiguousarray(matrix[start : start + at_once])
        padded = np.zeros((len(part), blocks * block), np.float32)
        padded[:, :columns] = part
        found = best_scales(padded.reshape(-1, block), levels, positive=positive).reshape(-1, blocks)
        steps = np.repeat(found, block, axis=1)[:, :columns]
        chosen = rounding(part, steps, levels).astype(np.float32)
        scales[start : start + at_once] = found
        codes[start : start + at_once] = levels.encode(chosen)
        signal += float(np.square(part, dtype=np.float64).sum())
        noise += float(np.square(part - steps * chosen, dtype=np.float64).sum())
    return Quantized(codes, scales, block, signal, noise)


def best_scales(blocks: Array, levels: Levels, *, positive: bool = False) -> Array:
    """Return the scale of each row of (n, block) weights of least squared error; 1 for zeros."""
    positive = positive or not levels.uniform  # log levels reach as far on either side
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    best = _usable(-largest, positive)
    error = np.full((len(blocks), 1), np.inf, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32: no better than any other
        for peak in levels.peaks:
            scale = _usable(-largest / np.float32(peak), positive)
            best, error = _better(blocks, levels, scale, best, error)
        reached = levels.nearest(blocks / best)
        power = np.square(reached).sum(axis=1, keepdims=True)
        fitted = (blocks * reached).sum(axis=1, keepdims=True) / np.maximum(power, np.float32(TINY))
        best, _ = _better(blocks, levels, _usable(fitted, positive), best, error)
    return best[:, 0]


def _usable(scale: Array, positive: bool) -> Array:
    """Replace what float32 cannot divide by: blocks of zeros have no scale of their own."""
    scale = np.abs(scale) if positive else scale
    return np.where(np.abs(scale) < TINY, np.float32(1), scale)


def _better(blocks: Array, levels: Levels, scale: Array, best: Array, error: Array) -> tuple[Array, Array]:
    """Return the better scale of each block, and its error."""
    missed = blocks - scale * levels.nearest(blocks / scale)
    found = np.einsum("ij,ij->i", missed, missed)[:, None]
    return np.where(found < error, scale, best), np.fmin(found, error)
