"""Counting zeros per channel and per sample."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.sparsity.counting import Counters, Spread, ZeroCounter
from onnx_pare.sparsity.integers import Stored
from onnx_pare.sparsity.share import Share, Zeros


def test_counting_per_channel_over_batches() -> None:
    counter = ZeroCounter()
    counter.update(np.array([[[0, 0], [1, 0]]], np.float32))
    counter.update(np.array([[[0, 0], [1, 1]], [[0, 0], [-0.0, 1]]], np.float32))
    assert counter.zeros() == Zeros(8 / 12, 1, (1.0, 2 / 6), (0,))
    assert counter.share() == Share(8 / 12, 1, (1.0, 2 / 6))
    assert counter.elements == 12


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_any_axis_may_count_channels(axis: int) -> None:
    array = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.float32)
    counter = ZeroCounter(axis)
    counter.update(array)
    found = counter.share()
    others = tuple(each for each in range(3) if each != axis % 3)
    assert found.channel_axis == axis % 3
    assert found.per_channel == pytest.approx((array == 0).mean(axis=others))
    assert found.fraction == pytest.approx((array == 0).mean())


def test_integers_count_by_their_zero_point_and_negatives_by_sign() -> None:
    array = np.array([[0, 3, 7, 3]], np.uint8)
    equal, below = ZeroCounter(point=3), ZeroCounter(point=3, below=True)
    for counter in (equal, below):
        counter.update(array)
    assert (equal.share().fraction, below.share().fraction) == (0.5, 0.25)


@pytest.mark.parametrize("batch", [1, 7, 50])
@pytest.mark.parametrize("axis", [1, -1])
def test_percentiles_are_over_samples(batch: int, axis: int) -> None:
    array = np.maximum(np.random.default_rng(0).normal(0.3, 1, (50, 8, 9)), 0)
    array[::3, :4] = 0
    counter = ZeroCounter(axis)
    for start in range(0, 50, batch):
        counter.update(array[start : start + batch])
    found, fractions = counter.share(50), (array == 0).mean(axis=(1, 2))
    assert (found.p10, found.p90) == pytest.approx(np.quantile(fractions, (0.1, 0.9)), abs=1e-3)
    assert counter.share(49).p10 is None


def test_one_call_may_be_one_sample() -> None:
    counter = ZeroCounter()
    counter.update(np.array([[0, 1], [1, 1]], np.float32))
    counter.update(np.array([[0, 0], [1, 1]], np.float32))
    assert (counter.share(2).p10, counter.share(2).p90) == (0.275, 0.475)


def test_rows_of_the_axis_of_channels_are_no_samples() -> None:
    counter = ZeroCounter(0)
    counter.update(np.array([[0, 1], [1, 1]], np.float32))
    assert counter.share(2).p10 is None


def test_quantiles_of_few_fractions() -> None:
    spread = Spread()
    spread.add(np.array([0.2]))
    assert (spread.quantile(0.1), spread.quantile(0.9)) == (0.2, 0.2)
    spread.add(np.array([0.4, 1.0]))
    assert spread.quantile(0.25) == pytest.approx(np.quantile([0.2, 0.4, 1.0], 0.25))


def test_no_axis_for_channels() -> None:
    counter = ZeroCounter()
    counter.update(np.array([0, 1, 0, 0], np.float32))
    counter.update(np.array(0, np.float32))
    assert counter.zeros() == Zeros(4 / 5)


def test_a_changing_number_of_channels_leaves_the_total() -> None:
    counter = ZeroCounter()
    counter.update(np.zeros((1, 3), np.float32))
    counter.update(np.ones((1, 5), np.float32))
    counter.update(np.ones((1, 1), np.float32))
    assert counter.zeros() == Zeros(3 / 9)


def test_nothing_seen() -> None:
    counter = ZeroCounter()
    counter.update(np.zeros((0, 3), np.float32))
    assert counter.zeros(5) == Zeros(0.0)


def test_who_looks_alike_shares_a_counter() -> None:
    counters, value = Counters(), ir.Value(name="t")
    first = counters.of(Stored(value, 0), 1)
    assert counters.of(Stored(value, 0), 1) is first
    others = [
        counters.of(Stored(value, 3), 1),
        counters.of(Stored(value, 0), -1),
        counters.of(Stored(value, 0), 1, below=True),
    ]
    assert counters.by_tensor() == {"t": [first, *others]}
