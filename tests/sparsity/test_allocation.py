from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from onnx_pare.sparsity.allocation import STEPS, Option, allocate


def layers(seed: int, count: int = 5) -> list[list[Option]]:
    rng = np.random.default_rng(seed)
    return [[Option(rng.uniform(1, 9), rng.exponential()) for _ in range(4)] for _ in range(count)]


@pytest.mark.parametrize("seed", range(6))
def test_no_other_choice_within_the_budget_harms_less(seed: int):
    given, budget = layers(seed), 22.0
    chosen = allocate(given, budget)
    every = [
        (sum(option.harm for option in found), sum(option.cost for option in found))
        for found in product(*given)
    ]
    # costs are rounded up: a choice that just fits may be missed
    best = min(harm for harm, cost in every if cost <= budget * (1 - len(given) / STEPS))
    found = [options[index] for options, index in zip(given, chosen, strict=True)]
    assert sum(option.cost for option in found) <= budget
    assert sum(option.harm for option in found) <= best


def test_a_budget_nothing_fits_into():
    assert allocate([[Option(5, 0), Option(3, 1)], [Option(2, 0)]], 4.9) is None
    assert allocate([[Option(5, 0)]], 0) is None


def test_free_options_need_no_budget():
    assert allocate([[Option(5, 0), Option(0, 1)], [Option(0, 3)]], 0) == [1, 0]
    assert allocate([], 1) == []


def test_an_exact_fit_is_found():
    assert allocate([[Option(3, 1), Option(7, 0)], [Option(3, 0)]], 10.0) == [1, 0]
