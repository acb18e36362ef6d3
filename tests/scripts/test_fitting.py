"""The joint fit, on latencies made from known parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fitting import CENTRE, Fitted, Models, Prior, _Problem, fit, held_out, without
from scipy.optimize import check_grad

from onnx_pare.cost.kernels import Kernel
from onnx_pare.hw_profiles.predictor import CLASSES, INDEX


def kernel(op_class: str, size: int, channels: int) -> Kernel:
    return Kernel(
        name=op_class,
        op="Conv",
        op_class=op_class,
        nodes=1,
        macs=size * channels**2 if op_class != "elementwise" else 0,
        read_bytes=4 * size * channels,
        written_bytes=4 * size * channels,
        weight_bytes=4 * channels**2,
        elements=size * channels,
        inner=channels,
        outer=channels,
        rows=size,
    )


@pytest.fixture
def models() -> Models:
    rng = np.random.default_rng(0)
    every = []
    for _ in range(40):
        sizes = rng.choice([49, 196, 784, 3136], size=6)
        widths = rng.choice([8, 32, 128, 256], size=6)
        names = rng.choice(["pointwise", "conv3x3", "elementwise", "linear"], size=6)
        every.append([kernel(*each) for each in zip(names, sizes.tolist(), widths.tolist(), strict=True)])
    return Models.of(every)


@pytest.fixture
def truth() -> Fitted:
    table = np.tile(CENTRE, (len(CLASSES), 1))
    table[INDEX["conv3x3"], 0] = np.log(0.6)
    table[INDEX["linear"], 0] = np.log(2.0)
    table[INDEX["elementwise"], 4:] = -20.0
    rates = np.log([[1e10, 8e9, 2e-5], [4e9, 2e9, 5e-5], [3e11, 4e11, 1e-6]])
    return Fitted(table, rates, np.zeros((3, len(CLASSES))))


def test_a_fit_predicts_what_it_was_made_from(models: Models, truth: Fitted) -> None:
    seconds = truth.seconds(models)
    found = fit(models, seconds).seconds(models)
    assert np.abs(found / seconds - 1).mean() < 0.03


def test_held_out_models_are_predicted(models: Models, truth: Fitted) -> None:
    seconds = truth.seconds(models)
    families = [f"family {index % 5}" for index in range(seconds.shape[1])]
    found = held_out(models, seconds, families, Prior())
    assert np.isfinite(found).all()
    assert np.abs(found / seconds - 1).mean() < 0.06


def test_folds_hold_out_several_families(models: Models, truth: Fitted) -> None:
    seconds = truth.seconds(models)
    families = [f"family {index % 5}" for index in range(seconds.shape[1])]
    assert np.isfinite(held_out(models, seconds, families, Prior(), folds=2)).all()


def test_known_rates_move_together(models: Models, truth: Fitted) -> None:
    """With one measurement, a device expected to be half as fast is found to be so in all."""
    seconds = truth.seconds(models)[:1]
    only = without(seconds, np.arange(seconds.shape[1]) != 0)
    expected = truth.rates[:1] + np.log([0.5, 0.5, 2.0])
    prior = Prior(
        table=truth.table,
        fit_table=False,
        rates=expected,
        rates_spread=(1.0, 0.1, 0.1),
        factor_spread=0.02,
    )
    found = fit(models, only, prior).seconds(models)
    assert np.abs(found / seconds - 1).mean() < 0.03


def test_nothing_measured_leaves_the_prior(models: Models, truth: Fitted) -> None:
    prior = Prior(table=truth.table, fit_table=False, rates=truth.rates)
    found = fit(models, np.full((3, 40), np.nan), prior)
    np.testing.assert_allclose(found.rates, truth.rates, atol=1e-6)


@pytest.mark.parametrize("known", [False, True])
def test_gradient(models: Models, truth: Fitted, known: bool) -> None:
    rates = truth.rates + 0.3 if known else None
    problem = _Problem(models, truth.seconds(models), replace(Prior(), rates=rates))
    start = problem.start() + np.random.default_rng(1).normal(0, 0.1, problem.start().shape)
    start = np.where(start < -15, -20, start)
    error = check_grad(lambda x: problem.loss(x)[0], lambda x: problem.loss(x)[1], start)
    assert error < 1e-3 * np.linalg.norm(problem.loss(start)[1])
