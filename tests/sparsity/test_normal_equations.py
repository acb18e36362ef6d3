from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.calibration.window import Window
from onnx_pare.sparsity.normal_equations import NormalEquations, Statistics, collect

Array = np.ndarray
RNG = np.random.default_rng


def rows_of(seed: int = 0, count: int = 400, inputs: int = 6, outputs: int = 3) -> tuple[Array, Array]:
    rng = RNG(seed)
    x = rng.normal(size=(count, inputs)) @ rng.normal(size=(inputs, inputs)) + 2
    y = x @ rng.normal(size=(inputs, outputs)) + rng.normal(size=(count, outputs)) * 0.3 - 1
    return x, y


def of(x: Array, y: Array) -> Statistics:
    equations = NormalEquations(Window(), 1)
    for part in np.array_split(np.arange(len(x)), 3):
        equations.add(x[None, part], y[None, part])
    return equations.statistics()


def test_the_solution_is_that_of_lstsq():
    x, y = rows_of()
    found = of(x, y)
    weights = found.solve()
    expected = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0]
    np.testing.assert_allclose(weights[0].T, expected[:-1], atol=1e-4)
    np.testing.assert_allclose(found.bias(weights)[0], expected[-1], atol=1e-3)
    left = y - x @ weights[0].T - found.bias(weights)[0]
    np.testing.assert_allclose(found.error(weights)[0], np.square(left).mean(axis=0), rtol=1e-3)


def test_a_ridge_holds_on_to_the_prior():
    x, y = rows_of()
    x[:, 5] = x[:, 4]  # nothing tells these two apart
    prior = RNG(1).normal(size=(1, 3, 6))
    weights = of(x, y).ridged(prior).solve()
    np.testing.assert_allclose(
        weights[0, :, 4] - weights[0, :, 5], prior[0, :, 4] - prior[0, :, 5], atol=1e-3
    )
    np.testing.assert_allclose(of(x, y).ridged(prior, 1e9).solve(), prior, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_is_found_again(groups: int):
    rng = RNG(0)
    window = Window((3, 3), (2, 1), (1, 1), (1, 1, 1, 1), groups)
    x = rng.normal(size=(6, 4, 8, 7)).astype(np.float32)
    kernel = rng.normal(size=(groups, 6 // groups, 4 // groups * 9)).astype(np.float32)
    places = window.draw(x, 10**6, rng)
    rows = window.patches(x, places) @ kernel.transpose(0, 2, 1) + 0.5
    y = rows.transpose(1, 0, 2).reshape(6, 4, 7, 6).transpose(0, 3, 1, 2)
    found = collect(window, 6, ((x[i : i + 2], y[i : i + 2]) for i in (0, 2, 4)))
    assert found is not None
    np.testing.assert_allclose(found.solve(), kernel, atol=1e-4)
    np.testing.assert_allclose(found.bias(kernel), 0.5, atol=1e-4)


def test_rows_are_bounded_and_always_the_same():
    x, y = RNG(0).normal(size=(50, 40, 6)), RNG(1).normal(size=(50, 40, 3))
    found = [collect(Window(), 50, [(x, y)], most_rows=200) for _ in range(2)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].rows == 200
    np.testing.assert_array_equal(found[0].xx, found[1].xx)


def test_rows_that_are_not_finite_are_left_out():
    x, y = rows_of()
    expected = of(x[1:], y[1:])
    x[0, 0] = np.nan
    found = of(x, y)
    assert found.rows == len(x) - 1
    np.testing.assert_allclose(found.xx, expected.xx, rtol=1e-5)
    nothing = np.full((1, 4, 6), np.nan)
    assert collect(Window(), 1, [(nothing, nothing)]) is None
    with pytest.raises(ValueError, match="no rows"):
        NormalEquations(Window(), 1).statistics()


@pytest.mark.filterwarnings("error")
def test_rows_beyond_what_can_be_squared_are_left_out_silently():
    x, y = rows_of()
    expected = of(x[2:], y[2:])
    x[0, 0], x[1, 0] = 3e38, 1e30
    found = of(x, y)
    assert found.rows == len(x) - 2
    np.testing.assert_allclose(found.xx, expected.xx, rtol=1e-5)
