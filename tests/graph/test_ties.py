"""Tied numbers, against tying them one by one."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.graph.ties import Ties


def test_ties_reach_far_and_are_settled_in_steps() -> None:
    ties = Ties()
    first, second, third = ties.new(3), ties.new(3), ties.new(2)
    assert len(ties) == 8
    ties.tie(first, second)
    np.testing.assert_array_equal(ties.roots(), [0, 1, 2, 0, 1, 2, 6, 7])
    ties.tie(third, second[1:])
    ties.tie(second[:2].reshape(2, 1), first[:1])
    np.testing.assert_array_equal(ties.roots(), [0, 0, 2, 0, 0, 2, 0, 2])
    with pytest.raises(ValueError, match="broadcast"):
        ties.tie(first, third)


@pytest.mark.parametrize("seed", range(4))
def test_roots_are_the_smallest_of_each_set(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ties, a, b = Ties(), rng.integers(0, 300, 250), rng.integers(0, 300, 250)
    ties.new(300)
    ties.tie(a, b)
    sets = [{number} for number in range(300)]
    for one, other in zip(a, b, strict=True):
        if sets[one] is not sets[other]:
            sets[one] |= sets[other]
            for member in sets[other]:
                sets[member] = sets[one]
    np.testing.assert_array_equal(ties.roots(), [min(own) for own in sets])


def test_a_long_chain() -> None:
    ties = Ties()
    ids = ties.new(100_000)
    ties.tie(ids[1:], ids[:-1])
    assert not ties.roots().any()
