"""Costs and fits against what plain least squares says."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.sparsity import masks
from onnx_pare.sparsity.patterns import Pattern
from onnx_pare.sparsity.second_order import Grain, exact_costs, fit, stepped_costs

Array = np.ndarray
RNG = np.random.default_rng


def problem(inputs: int = 8, rows: int = 3, seed: int = 0) -> tuple[Array, Array]:
    """Return the second moments of inputs that resemble each other, and weights."""
    rng = RNG(seed)
    x = rng.normal(size=(200, inputs)) @ rng.normal(size=(inputs, inputs))
    return x.T @ x / 200 + 0.01 * np.eye(inputs), rng.normal(size=(rows, inputs))


def refitted(gram: Array, best: Array, gone: Array) -> Array:
    """Return the best weights of one row without those that are gone, by solving for them."""
    kept = np.flatnonzero(~gone)
    found = np.zeros_like(best)
    found[kept] = np.linalg.solve(gram[np.ix_(kept, kept)], gram[kept] @ best)
    return found


def harm(gram: Array, best: Array, weights: Array) -> float:
    return float(np.einsum("...k,kl,...l->...", weights - best, gram, weights - best).sum())


def none_of(weights: Array) -> Array:
    return np.zeros(weights.shape, bool)


def test_the_cheapest_goes_first_and_costs_what_it_harms():
    gram, weights = problem()
    (costs,) = exact_costs(gram[None], weights[None], none_of(weights)[None], Grain(), 1.0)
    for row, best in zip(costs, weights, strict=True):
        gone, before, highest = np.zeros(8, bool), 0.0, 0.0
        while not gone.all():
            tried = {}
            for place in np.flatnonzero(~gone):
                without = gone.copy()
                without[place] = True
                tried[place] = harm(gram, best, refitted(gram, best, without))
            place = min(tried, key=tried.__getitem__)
            highest = max(highest, tried[place] - before)
            assert row[place] == pytest.approx(highest, rel=1e-3)
            gone[place], before = True, tried[place]


def test_weights_that_are_gone_cost_nothing_but_their_absence_counts():
    gram, weights = problem()
    zeros = none_of(weights)
    zeros[:, 2] = True
    (costs,) = exact_costs(gram[None], weights[None], zeros[None], Grain(), 0.25)
    assert (costs[:, 2] == 0).all()
    first = np.delete(costs[0], 2).min()
    kept = refitted(gram, weights[0], zeros[0])
    tried = []
    for other in (0, 1, 3, 4, 5, 6, 7):
        without = zeros[0].copy()
        without[other] = True
        tried.append(harm(gram, weights[0], refitted(gram, weights[0], without)))
    assert first == pytest.approx(min(tried) - harm(gram, weights[0], kept), rel=1e-3)


def test_groups_keep_what_is_spared():
    gram, weights = problem(16)
    (costs,) = exact_costs(gram[None], weights[None], none_of(weights)[None], Grain(spared=2, group=4), 0.75)
    mask = masks.n_of_m(costs, 2, 4, 1)
    assert (mask.reshape(3, 4, 4).sum(axis=2) == 2).all()


@pytest.mark.parametrize("grain", [Grain(2, 3), Grain(1, 4), Grain(3, 1)])
def test_blocks_go_together_at_the_cost_of_all_their_rows(grain: Grain):
    gram, weights = problem(10, 4)
    (costs,) = exact_costs(gram[None], weights[None], none_of(weights)[None], grain, 0.0)
    rows, columns = slice(0, grain.rows), slice(0, grain.columns)
    assert np.unique(costs[rows, columns]).size == 1
    gone = np.zeros(10, bool)
    gone[columns] = True
    expected = sum(harm(gram, best, refitted(gram, best, gone)) for best in weights[rows])
    assert costs[0, 0] == pytest.approx(expected, rel=1e-3)


def test_groups_of_a_layer_do_not_meet_and_dead_inputs_are_free():
    gram, weights = problem()
    dead = np.full((8, 8), 0.0) + np.eye(8) * np.finfo(np.float32).tiny
    both = exact_costs(
        np.stack([gram, dead]), np.stack([weights, weights]), np.zeros((2, 3, 8), bool), Grain(), 1.0
    )
    np.testing.assert_array_equal(
        both[0], exact_costs(gram[None], weights[None], none_of(weights)[None], Grain(), 1.0)[0]
    )
    assert both[1].max() < both[0].min()


@pytest.mark.parametrize("pattern", [Pattern(0.5), Pattern(0.5, kept=2, group=4), Pattern(0.5, block=(1, 4))])
def test_removal_by_cost_harms_less_than_by_size(pattern: Pattern):
    gram, weights = problem(64, 16)
    zeros = none_of(weights)
    found = {
        "exact": exact_costs(gram[None], weights[None], zeros[None], pattern.grain, 0.75)[0],
        "stepped": stepped_costs(gram[None], weights[None], zeros[None], pattern.choose, 0.5)[0],
        "size": weights,
    }
    harms = {}
    for name, costs in found.items():
        gone = pattern.choose(costs, 0.5)
        assert gone.mean() == 0.5
        harms[name] = harm(gram, weights, fit(gram, weights, gone, weights))
    assert max(harms["exact"], harms["stepped"]) < 0.9 * harms["size"]


def test_steps_begin_with_what_is_gone():
    gram, weights = problem(32)
    zeros = RNG(1).random(weights.shape) < 0.3
    costs = stepped_costs(gram[None], weights[None], zeros[None], Pattern().choose, 0.5)[0]
    assert (costs[zeros] == 0).all()
    assert (costs[~zeros] > 0).all()


def test_fit_is_least_squares_on_what_is_left():
    gram, weights = problem(12)
    gone = RNG(1).random(weights.shape) < 0.5
    found = fit(gram, weights, gone, weights)
    expected = [refitted(gram, best, row) for best, row in zip(weights, gone, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found[gone] == 0).all()
    np.testing.assert_array_equal(fit(gram, weights, np.ones_like(gone), weights), 0)
