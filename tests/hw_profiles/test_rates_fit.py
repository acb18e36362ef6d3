"""Rates are found again in times that were made from them."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.cost.kernels import Kernel
from onnx_pare.hw_profiles.predictor import ClassCost, Rates
from onnx_pare.hw_profiles.rates_fit import Measured, fit_rates, predicted_s

COSTS = {"pointwise": ClassCost(inner=2.0), "conv3x3": ClassCost(rows=3.0), "copy": ClassCost(memory=0.5)}
START = Rates(60e9, 25e9, 4e-6)
TRUE = Rates(8e9, 5e9, 20e-6, {"pointwise": 1.2, "conv3x3": 0.8, "copy": 1.0})


def kernel(op_class: str, macs: int, moved: int) -> Kernel:
    return Kernel("k", "Conv", op_class, 1, macs, moved, moved, 0, moved // 4, inner=64, rows=100)


def networks() -> list[list[Kernel]]:
    rng = np.random.default_rng(0)
    made = []
    for index in range(30):
        sizes = rng.integers(1, 200, 6) * 10_000
        kinds = [("pointwise", "conv3x3", "copy")[index % 3]] * 4 + ["pointwise", "copy"]
        made.append(
            [
                kernel(kind, 0 if kind == "copy" else int(n) * 20, int(n))
                for kind, n in zip(kinds, sizes, strict=True)
            ]
        )
    return made


def measured(noise: float = 0.0) -> list[Measured]:
    rng = np.random.default_rng(1)
    return [
        Measured(str(i), ks, predicted_s(ks, COSTS, TRUE) * float(np.exp(noise * rng.normal())), noise=0.02)
        for i, ks in enumerate(networks())
    ]


def test_true_rates_predict_as_they_were_found() -> None:
    found = fit_rates(measured(), COSTS, START)
    for one in measured():
        assert predicted_s(one.kernels, COSTS, found) == pytest.approx(one.seconds, rel=0.02)
    ratio = found.factors["pointwise"] / found.factors["conv3x3"]
    assert ratio == pytest.approx(TRUE.factors["pointwise"] / TRUE.factors["conv3x3"], rel=0.05)
    assert found.overhead_s == pytest.approx(TRUE.overhead_s, rel=0.2)


def test_one_wrong_time_does_little() -> None:
    disturbed = measured(noise=0.01)
    first = disturbed[0]
    disturbed[0] = Measured("0", first.kernels, 5 * first.seconds, noise=0.02)
    found = fit_rates(disturbed, COSTS, START)
    for one in disturbed[1:]:
        assert predicted_s(one.kernels, COSTS, found) == pytest.approx(one.seconds, rel=0.1)


def test_known_time_is_not_explained_again() -> None:
    halves = [Measured(o.name, o.kernels, 2 * o.seconds, known_s=o.seconds, noise=0.02) for o in measured()]
    found = fit_rates(halves, COSTS, START)
    for one in halves:
        own = predicted_s(one.kernels, COSTS, found)
        assert own + one.known_s == pytest.approx(one.seconds, rel=0.02)


def test_no_kernels_take_no_time() -> None:
    assert predicted_s([], COSTS, START) == 0
    with_empty = [*measured(), Measured("empty", [], 1.0)]
    assert fit_rates(with_empty, COSTS, START) == fit_rates(measured(), COSTS, START)
