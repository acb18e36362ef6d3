from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from onnx_pare.calibration.window import Window
from onnx_pare.sparsity.normal_equations import NormalEquations, Statistics
from onnx_pare.sparsity.separable import Separable, decompose, fit

Array = np.ndarray
RNG = np.random.default_rng
CHANNELS, OUTPUTS, POSITIONS = 4, 7, 9


def weights(seed: int = 0) -> Array:
    return RNG(seed).normal(size=(OUTPUTS, CHANNELS * POSITIONS))


def statistics(dense: Array, seed: int = 1, rows: int = 3000) -> Statistics:
    """Return those of inputs that resemble each other, and of what a layer makes of them."""
    rng = RNG(seed)
    width = dense.shape[1]
    x = rng.normal(size=(rows, width)) @ (np.eye(width) + 0.1 * rng.normal(size=(width, width)))
    equations = NormalEquations(Window(), 1)
    equations.add(x[None], (x @ dense.T)[None])
    return equations.statistics().ridged(dense[None])


def error(found: Separable, given: Statistics) -> float:
    return float(given.error(found.dense()[None]).sum() / given.yy.sum())


def test_weights_of_a_low_rank_are_found_exactly():
    rng = RNG(0)
    true = Separable(rng.normal(size=(CHANNELS, 2, POSITIONS)), rng.normal(size=(OUTPUTS, CHANNELS, 2)))
    for found in (
        decompose(true.dense(), CHANNELS, 2),
        fit(statistics(true.dense()), CHANNELS, 2, true.dense()),
    ):
        np.testing.assert_allclose(found.dense(), true.dense(), atol=1e-4)


def test_a_full_rank_loses_nothing():
    dense = weights()
    for found in (
        decompose(dense, CHANNELS, POSITIONS),
        fit(statistics(dense), CHANNELS, POSITIONS, dense),
    ):
        assert found.depthwise.shape == (CHANNELS, POSITIONS, POSITIONS)
        assert found.pointwise.shape == (OUTPUTS, CHANNELS, POSITIONS)
        np.testing.assert_allclose(found.dense(), dense, atol=1e-4)


def test_the_dense_weights_are_the_product():
    found = Separable(RNG(0).normal(size=(3, 2, 9)), RNG(1).normal(size=(5, 3, 2)))
    by_hand = np.zeros((5, 27))
    for o in range(5):
        for c in range(3):
            for r in range(2):
                by_hand[o, c * 9 : c * 9 + 9] += found.pointwise[o, c, r] * found.depthwise[c, r]
    np.testing.assert_allclose(found.dense(), by_hand)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_fitting_beats_the_svd_and_more_sweeps_never_harm(rank: int):
    dense = weights()
    given = statistics(dense)
    plain = error(decompose(dense, CHANNELS, rank), given)
    errors = [error(fit(given, CHANNELS, rank, dense, sweeps), given) for sweeps in (0, 1, 2, 4, 8)]
    assert errors[0] < plain
    assert all(b <= a * (1 + 1e-9) for a, b in pairwise(errors))
    assert errors[-1] < errors[0]


def test_each_factor_is_stationary():
    """Shifting any factor a little, either way, makes the error larger: a minimum."""
    dense = weights()
    given = statistics(dense)
    found = fit(given, CHANNELS, 1, dense, sweeps=400)
    best = error(found, given)
    for seed in range(5):
        for sign in (-1, 1):
            step = 1e-3 * sign * RNG(seed).normal(size=found.depthwise.shape)
            assert error(Separable(found.depthwise + step, found.pointwise), given) > best
            step = 1e-3 * sign * RNG(seed).normal(size=found.pointwise.shape)
            assert error(Separable(found.depthwise, found.pointwise + step), given) > best


def test_wanted_outputs_need_not_be_the_layers_own():
    dense, other = weights(), weights(5)
    found = fit(statistics(other), CHANNELS, POSITIONS, dense, sweeps=1)
    np.testing.assert_allclose(found.dense(), other, atol=1e-4)
