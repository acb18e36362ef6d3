"""Harms are those of the least-squares optimum without the channels."""

from __future__ import annotations

import numpy as np

from onnx_pare.sparsity.elimination import Adapting, eliminate


def reader(seed: int) -> tuple[Adapting, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6))
    weights = rng.normal(size=(3, 6))
    inverse = np.linalg.inv(x.T @ x / len(x))
    return Adapting(inverse, weights.copy(), np.arange(6).reshape(3, 2)), x, weights


def optimum(x: np.ndarray, weights: np.ndarray, left: list[int]) -> float:
    y = x @ weights.T
    columns = [column for unit in left for column in (2 * unit, 2 * unit + 1)]
    found = np.linalg.lstsq(x[:, columns], y, rcond=None)[0]
    return float(np.square(y - x[:, columns] @ found).sum() / len(x))


def test_harms_of_two_readers_add_up_to_the_optimum() -> None:
    readers = [reader(0), reader(1)]
    course = eliminate([own for own, _, _ in readers], 3)
    for count in (1, 2):
        left = [unit for unit in range(3) if unit not in course.order[:count]]
        expected = sum(optimum(x, weights, left) for _, x, weights in readers)
        np.testing.assert_allclose(course.harms[count], expected, rtol=1e-8)
