"""Masks: exact counts, the right weights, ties in memory order."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from onnx_pare.sparsity import masks


@pytest.mark.parametrize(
    ("count", "sparsity", "zeros"),
    [(100, 0.29, 29), (10, 0.3, 3), (3, 0.5, 1), (1, 0.5, 0), (7, 0.0, 0), (1000, 0.999, 999)],
)
def test_floor_of_decimal_fractions(count: int, sparsity: float, zeros: int) -> None:
    assert masks.zeros_wanted(count, sparsity) == zeros


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 500, 999, 1000])
def test_the_smallest_by_sorting(count: int, dtype: Any) -> None:
    weights = np.random.default_rng(0).standard_normal((10, 100)).astype(dtype)
    mask = masks.smallest(weights, count)
    expected = np.zeros(1000, bool)
    expected[np.argsort(np.abs(weights).astype(np.float32).ravel(), kind="stable")[:count]] = True
    np.testing.assert_array_equal(mask.ravel(), expected)


def test_ties_go_in_memory_order() -> None:
    assert masks.smallest(np.array([1.0, -1, 0, 1, 2, -0.0]), 4).tolist() == [
        True,
        True,
        True,
        False,
        False,
        True,
    ]


def test_nan_and_infinity_are_largest() -> None:
    assert masks.smallest(np.array([np.nan, 3.0, -np.inf, 1.0]), 2).tolist() == [False, True, False, True]


def test_a_threshold_over_many_arrays() -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(size).astype(np.float32) for size in (3, masks.BLOCK + 5, 400)]
    wanted = 70_000
    bits, ties = masks.threshold(lambda: arrays, wanted)
    chosen = []
    for array in arrays:
        mask, ties = masks.below(array, bits, ties)
        chosen.append(mask)
    together = np.abs(np.concatenate(arrays))
    mask = np.concatenate(chosen)
    assert (int(mask.sum()), ties) == (wanted, 0)
    assert together[mask].max() <= together[~mask].min()


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_n_of_m(axis: int) -> None:
    weights = (
        np.random.default_rng(2).standard_normal((8, 8, 3)) if axis != -1 else np.arange(16.0).reshape(2, 8)
    )
    mask = masks.n_of_m(weights, 1, 4, axis)
    groups = np.moveaxis(mask, axis, -1).reshape(-1, 4)
    assert (groups.sum(axis=1) == 3).all()
    values = np.abs(np.moveaxis(weights, axis, -1).reshape(-1, 4))
    np.testing.assert_array_equal(np.argmax(values, axis=1), np.argmin(groups, axis=1))


def test_n_of_m_needs_whole_groups() -> None:
    with pytest.raises(ValueError, match="does not split into groups of 4"):
        masks.n_of_m(np.ones((2, 6)), 2, 4, 1)


def test_blocks_with_smaller_ones_at_the_edge() -> None:
    matrix = np.array([[1.0, 1, 5], [1, 1, 5], [4, 4, 0.5]])
    expected = [[True, True, False], [True, True, False], [False, False, True]]
    assert masks.blocks(matrix, 2, 2, 0.5).tolist() == expected


def test_more_sparsity_zeroes_more_of_the_same() -> None:
    weights = np.random.default_rng(3).standard_normal(999)
    chosen = [masks.smallest(weights, masks.zeros_wanted(999, s)) for s in (0.1, 0.5, 0.9)]
    assert all((~small | large).all() for small, large in pairwise(chosen))
