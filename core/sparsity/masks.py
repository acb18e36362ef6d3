"""Which weights to zero: masks from magnitudes, in plain numpy.

A mask is a boolean array of the weights' shape, True where a weight becomes zero. Weights that are zero
already are the first to be chosen, so that a mask made a second time holds no new ones. Equal magnitudes are
chosen in memory order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mask = NDArray[np.bool_]

# elements handled at a time
BLOCK = 1 << 20


def zeros_wanted(count: int, sparsity: float) -> int:
    """Return floor(sparsity · count), forgiving the rounding of decimal fractions: 0.29 of 100 is 29."""
    return floor(sparsity * count + 1e-9 * count)


def smallest(weights: Array, count: int) -> Mask:
    """Return the mask of the `count` weights of the smallest magnitude."""
    return below(weights, *threshold(lambda: [weights], count))[0]


def threshold(read: Callable[[], Iterable[Array]], count: int) -> tuple[int, int]:
    """Return the magnitude up to which `count` weights lie, over many arrays, and how many at it to take.

    The bits of a non-negative float32, read as an integer, are ordered as the numbers are. One pass counts
    the upper halves, a second one the lower halves of those that share the upper half in question: exact, and
    two tables of 65,536 counts are all that is held. Magnitudes are compared as float32.

    Args:
        read: Starts over and yields the arrays; it is called twice.
        count: How many weights to choose; at most as many as there are.

    Returns:
        The threshold's bits, and how many of the weights at the threshold belong to the `count`.
    """
    upper, rest = _bucket(_counts(read(), lambda bits: bits >> 16), count)
    lower_counts = _counts(read(), lambda bits: (bits & 0xFFFF)[bits >> 16 == upper])
    lower, rest = _bucket(lower_counts, rest)
    return upper << 16 | lower, rest


def below(weights: Array, bits: int, ties: int) -> tuple[Mask, int]:
    """Return the mask of the weights below a threshold and of the first `ties` at it, and the ties left."""
    magnitude = _magnitude_bits(weights)
    mask = magnitude < bits
    equal = np.flatnonzero(magnitude == bits)[:ties]
    mask[equal] = True
    return mask.reshape(weights.shape), ties - len(equal)


def shares(read: Callable[[], Iterable[Array]], count: int) -> list[int]:
    """Return how many of the `count` weights of smallest magnitude lie in each of many arrays.

    Args:
        read: As for `threshold`; it is called three times.
        count: How many weights to choose; at most as many as there are.
    """
    bits, ties = threshold(read, count)
    found = []
    for weights in read():
        mask, ties = below(weights, bits, ties)
        found.append(int(np.count_nonzero(mask)))
    return found


def n_of_m(weights: Array, keep: int, group: int, axis: int) -> Mask:
    """Return the mask that keeps the `keep` largest of each `group` consecutive weights along `axis`.

    As NVIDIA's 2:4 along the input channels (Mishra et al., https://arxiv.org/abs/2104.08378).

    Raises:
        ValueError: The axis is no multiple of `group` long.
    """
    if weights.shape[axis] % group:
        raise ValueError(f"axis {axis} of {weights.shape} does not split into groups of {group}")
    moved = np.moveaxis(weights, axis, -1)
    magnitude = np.abs(moved.reshape(-1, group)).astype(np.float32)
    order = np.argsort(magnitude, axis=1, kind="stable")
    mask = np.zeros(magnitude.shape, np.bool_)
    np.put_along_axis(mask, order[:, : group - keep], True, axis=1)
    return np.ascontiguousarray(np.moveaxis(mask.reshape(moved.shape), -1, axis))


def blocks(matrix: Array, rows: int, columns: int, sparsity: float) -> Mask:
    """Return the mask of whole blocks of a (M, N) matrix: floor(sparsity · blocks) with the least mean |w|.

    Blocks at the lower and right edge are smaller where `rows` or `columns` do not divide M or N.
    """
    magnitude = np.abs(matrix).astype(np.float32)
    starts = [np.arange(0, length, step) for length, step in zip(matrix.shape, (rows, columns), strict=True)]
    sums = np.add.reduceat(np.add.reduceat(magnitude, starts[0], axis=0), starts[1], axis=1)
    heights, widths = (
        np.diff(np.append(start, length)) for start, length in zip(starts, matrix.shape, strict=True)
    )
    means = sums / np.outer(heights, widths)
    chosen = smallest(means, zeros_wanted(means.size, sparsity))
    return np.repeat(np.repeat(chosen, heights, axis=0), widths, axis=1)


def _magnitude_bits(weights: Array) -> NDArray[np.uint32]:
    """Return |w| as float32 bits, flat; NaN comes out largest."""
    return np.abs(weights.reshape(-1).astype(np.float32, copy=False)).view(np.uint32)


def _counts(arrays: Iterable[Array], part: Callable[[NDArray[np.uint32]], Array]) -> NDArray[np.int64]:
    counts = np.zeros(1 << 16, np.int64)
    for array in arrays:
        flat = array.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            bits = _magnitude_bits(flat[start : start + BLOCK])
            counts += np.bincount(part(bits), minlength=1 << 16)
    return counts


def _bucket(counts: NDArray[np.int64], count: int) -> tuple[int, int]:
    """Return the bucket in which the `count`-th smallest lies, and how many of that bucket are chosen."""
    cumulative = np.cumsum(counts)
    bucket = int(np.searchsorted(cumulative, max(count, 1), side="left"))
    return bucket, count - (int(cumulative[bucket - 1]) if bucket else 0)
