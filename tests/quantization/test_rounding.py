from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from onnx_pare.quantization.rounding import DAMPING, round_weights

Array = np.ndarray


def covariance(rng: np.random.Generator, *shape: int, common: float = 3.0) -> Array:
    """Return the covariances of inputs that share a part, shape (*shape, size) + (size,)."""
    factor = rng.normal(size=(*shape, 4 * shape[-1])) + common * rng.normal(
        size=(*shape[:-1], 1, 4 * shape[-1])
    )
    return factor @ np.swapaxes(factor, -1, -2) / factor.shape[-1]


def problem(seed: int, groups: int, rows: int, inputs: int, limit: int) -> tuple[Array, Array]:
    weight = np.random.default_rng(seed).normal(size=(groups, rows, inputs))
    return weight, np.abs(weight).max(axis=2) / limit


def cost(integers: Array, weight: Array, scales: Array, matrix: Array) -> Array:
    """Return E of each row, shape (groups, rows), for a covariance of one block."""
    error = integers * scales[..., None] - weight
    return np.einsum("goi,gij,goj->go", error, matrix, error)


def nearest(weight: Array, scales: Array, limit: int) -> Array:
    return np.clip(np.round(weight / scales[..., None]), -limit, limit)


@pytest.mark.parametrize("limit", [7, 64, 127])
@pytest.mark.parametrize(("groups", "rows", "inputs"), [(1, 16, 27), (4, 3, 9), (1, 8, 100), (1, 1, 1)])
def test_outputs_change_no_more_than_by_rounding_to_nearest(groups: int, rows: int, inputs: int, limit: int):
    rng = np.random.default_rng(inputs)
    weight, scales = problem(1, groups, rows, inputs, limit)
    blocks = covariance(rng, groups, 1, inputs)
    rounded = round_weights(weight, scales, blocks, limit)
    assert rounded.shape == weight.shape
    np.testing.assert_array_equal(rounded, np.round(rounded))
    assert np.abs(rounded).max() <= limit
    matrix = blocks[:, 0]
    mine = cost(rounded, weight, scales, matrix).sum()
    theirs = cost(nearest(weight, scales, limit), weight, scales, matrix).sum()
    assert mine <= theirs * 1.0001
    if inputs > 1:
        assert mine < 0.7 * theirs


def babai(row: Array, matrix: Array, limit: int) -> Array:
    """Choose levels one by one from the largest variance to the smallest, each against what is left."""
    order = np.argsort(np.diagonal(matrix), kind="stable")
    factor = np.linalg.cholesky(matrix[np.ix_(order, order)])
    error, levels = np.zeros(len(row)), np.zeros(len(row))
    for i in reversed(range(len(row))):
        left_over = error[i + 1 :] @ factor[i + 1 :, i] / factor[i, i]
        levels[order[i]] = np.clip(np.round(row[order[i]] - left_over), -limit, limit)
        error[i] = levels[order[i]] - row[order[i]]
    return levels


@pytest.mark.parametrize(("share", "most"), [(1.0, 0.98), (0.5, 0.5)])
def test_it_is_better_than_the_nearest_plane_alone(share: float, most: float):
    """Fewer samples than inputs leave a descent something to find, weights that are cut off much more."""
    factor = np.random.default_rng(11).normal(size=(100, 30))
    weight, scales = problem(5, 1, 24, 100, 31)
    scales = share * scales
    blocks = (factor @ factor.T / 30)[None, None]
    damped = blocks[0] + DAMPING * np.trace(blocks[0, 0]) / 100 * np.eye(100)
    plane = np.array([babai(row, damped[0], 31) for row in weight[0] / scales[0][:, None]])[None]
    rounded = round_weights(weight, scales, blocks, 31)
    mine, theirs = (cost(levels, weight, scales, damped)[0] for levels in (rounded, plane))
    assert (mine <= theirs * 1.0001).all()
    assert mine.sum() < most * theirs.sum()


def test_well_conditioned_inputs_give_the_nearest_plane():
    weight, scales = problem(5, 1, 24, 100, 31)
    blocks = covariance(np.random.default_rng(11), 1, 1, 100)
    damped = blocks[0, 0] + DAMPING * np.trace(blocks[0, 0]) / 100 * np.eye(100)
    plane = np.array([babai(row, damped, 31) for row in weight[0] / scales[0][:, None]])
    rounded = round_weights(weight, scales, blocks, 31)[0]
    # float32 may decide single ties differently
    assert (rounded == plane).mean() > 0.95


def test_small_cases_come_close_to_the_best_of_all():
    rng = np.random.default_rng(0)
    ratios = []
    for seed in range(20):
        weight, scales = problem(seed, 1, 1, 4, 5)
        blocks = covariance(rng, 1, 1, 4)
        damped = blocks[0, 0] + DAMPING * np.trace(blocks[0, 0]) / 4 * np.eye(4)
        candidates = np.array(list(product(range(-5, 6), repeat=4)), dtype=float)[None]
        best = cost(candidates, weight, np.repeat(scales, 11**4, axis=1), damped[None]).min()
        ratios.append(
            cost(round_weights(weight, scales, blocks, 5), weight, scales, damped[None]).item() / best
        )
    assert min(ratios) > 0.999
    assert np.median(ratios) < 1.001
    assert max(ratios) < 2.0


@pytest.mark.parametrize("variances", [1.0, 0.0])
def test_inputs_without_covariance_are_rounded_to_nearest(variances: float):
    weight, scales = problem(3, 2, 5, 40, 127)
    blocks = np.broadcast_to(variances * np.eye(40), (2, 1, 40, 40))
    np.testing.assert_array_equal(round_weights(weight, scales, blocks, 127), nearest(weight, scales, 127))


def test_weights_beyond_the_largest_integer_are_cut_off():
    weight = np.full((1, 2, 6), 10.0)
    rounded = round_weights(weight, np.ones((1, 2)), covariance(np.random.default_rng(1), 1, 1, 6), 4)
    np.testing.assert_array_equal(rounded, 4)


def test_blocks_are_rounded_on_their_own_and_a_last_one_may_be_longer():
    rng = np.random.default_rng(7)
    weight, scales = problem(2, 2, 3, 20, 15)
    blocks = covariance(rng, 2, 3, 8)
    # the last block has 4 inputs, and nothing beyond them
    blocks[:, 2, 4:] = blocks[:, 2, :, 4:] = 0
    whole = round_weights(weight, scales, blocks, 15)
    for i, start in enumerate((0, 8)):
        part = weight[:, :, start : start + 8]
        np.testing.assert_array_equal(
            whole[:, :, start : start + 8], round_weights(part, scales, blocks[:, i : i + 1], 15)
        )
    end = weight[:, :, 16:]
    matrix = blocks[:, 2, :4, :4]
    assert (
        cost(whole[:, :, 16:], end, scales, matrix).sum()
        <= cost(nearest(end, scales, 15), end, scales, matrix).sum()
    )


def test_a_covariance_that_rounding_made_indefinite() -> None:
    weight = np.random.default_rng(0).normal(size=(1, 4, 8)).astype(np.float32)
    covariance = np.eye(8)[None, None] - 2.0 * np.ones((8, 8)) / 8
    chosen = round_weights(weight, np.full((1, 4), 0.1), covariance, 127)
    assert np.abs(chosen * 0.1 - weight).max() < 1.0


def test_overflowed_activations_round_to_the_nearest() -> None:
    weight = np.random.default_rng(0).normal(size=(1, 4, 8)).astype(np.float32)
    covariance = np.full((1, 1, 8, 8), np.nan)
    chosen = round_weights(weight, np.full((1, 4), 0.1), covariance, 127)
    np.testing.assert_array_equal(chosen, np.round(weight / 0.1))
