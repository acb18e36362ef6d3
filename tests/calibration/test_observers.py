from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnx_pare.calibration.observers import BLOCK, Histogram, MinMax, Several


def test_minmax_takes_the_extremes_of_all_updates():
    observer = MinMax()
    for array in ([1.0, 2.0], [-3.0], [0.5]):
        observer.update(np.array(array, np.float32))
    assert observer.range() == (-3.0, 2.0)


def test_minmax_leaves_out_what_is_not_finite():
    observer = MinMax()
    observer.update(np.array([np.nan, 1.0, np.inf], np.float32))
    observer.update(np.array([np.nan], np.float32))
    assert observer.range() == (1.0, 1.0)


def test_a_range_that_never_saw_zero_does_not_hold_it():
    observer = MinMax()
    observer.update(np.array([5.0, 6.0], np.float32))
    assert observer.range() == (5.0, 6.0)


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("q", [0.001, 0.25, 0.5, 0.999])
def test_quantiles_are_those_of_the_values_within_a_bin(scale: float, q: float):
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32) * np.float32(scale)
    observer = Histogram()
    observer.update(values)
    assert observer.quantile(q) == pytest.approx(np.quantile(values, q), abs=2 * observer.width)


def test_bins_stay_fine_enough():
    observer = Histogram()
    observer.update(np.linspace(0, 3, 1000, dtype=np.float32))
    assert observer.width <= 3 / (observer.BINS / 2)


def test_order_and_batching_do_not_matter():
    values = np.random.default_rng(1).lognormal(size=10_000).astype(np.float32)
    whole, pieces = Histogram(), Histogram()
    whole.update(values)
    for piece in np.array_split(values[::-1], 37):
        pieces.update(piece)
    assert whole.exponent == pieces.exponent
    np.testing.assert_array_equal(whole.counts, pieces.counts)


def test_histograms_merge_exactly():
    rng = np.random.default_rng(2)
    small, large = rng.normal(size=5000).astype(np.float32), 100 * rng.random(5000).astype(np.float32)
    both, first, second = Histogram(), Histogram(), Histogram()
    both.update(np.concatenate([small, large]))
    first.update(small)
    second.update(large)
    merged = Histogram()
    for part in (first, Histogram(), second):
        merged.merge(part)
    assert merged.exponent == both.exponent
    assert merged.extremes == both.extremes
    np.testing.assert_array_equal(merged.counts, both.counts)


def test_percentile_cuts_outliers_off_at_both_ends():
    values = np.random.default_rng(3).normal(size=100_000).astype(np.float32)
    values[0], values[1] = 50.0, -80.0
    observer = Histogram()
    observer.update(values)
    low, high = observer.range(99.9)
    assert -4.5 < low < -2.5
    assert 2.5 < high < 4.5
    assert observer.range(100.0) == (-80.0, 50.0)


def test_values_that_are_not_finite_are_not_counted():
    observer = Histogram()
    observer.update(np.array([np.inf, np.nan, 1.0, -1.0], np.float32))
    observer.update(np.array([np.nan], np.float32))
    assert observer.counts.sum() == 2


def test_an_empty_histogram_has_a_range():
    assert Histogram().range(99.0) == (0.0, 0.0)


def test_exact_zeros_and_extremes_are_counted():
    observer = Histogram()
    for array in ([0.0, 1.0, 1.0, -2.0], [np.nan, 0.0, 1.0, -3.0], [3.0, -3.0, -3.0], [-0.0, 3.0]):
        observer.update(np.array(array, np.float32))
    assert (observer.zeros, observer.at_low, observer.at_high) == (3, 3, 2)
    assert observer.extremes.range() == (-3.0, 3.0)


# without subnormal values: a wide bin's width times those is zero
FLOATS = arrays(
    np.float32, st.integers(0, 80), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
)


@given(st.lists(FLOATS, min_size=1, max_size=5), st.randoms())
@settings(max_examples=200, deadline=None)
def test_merging_equals_seeing_everything_at_once(pieces: list[np.ndarray], random):
    whole, merged = Histogram(), Histogram()
    whole.update(np.concatenate(pieces))
    parts = []
    for piece in pieces:
        parts.append(Histogram())
        parts[-1].update(piece)
    random.shuffle(parts)
    for part in parts:
        merged.merge(part)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    assert vars(merged).keys() == vars(whole).keys()
    for name in vars(whole).keys() - {"counts"}:
        assert getattr(merged, name) == getattr(whole, name), name


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int64])
@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 5])
def test_blocks_and_types_do_not_matter(size: int, dtype: type[np.generic]):
    values = np.abs(np.random.default_rng(size).integers(-20, 90, size)).astype(dtype)
    observer = Histogram()
    observer.update(values[None, None])
    places = np.floor(values.astype(np.float64) / observer.width).astype(np.int64) + observer.BINS
    np.testing.assert_array_equal(observer.counts, np.bincount(places, minlength=2 * observer.BINS))
    assert observer.zeros == np.sum(values == 0)
    assert observer.at_high == np.sum(values == values.max())


def test_several_observers_see_the_same():
    values = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float32)
    together, alone = (MinMax(), Histogram()), (MinMax(), Histogram())
    for piece in values:
        Several(together).update(piece)
        for observer in alone:
            observer.update(piece)
    assert together[0] == alone[0]
    np.testing.assert_array_equal(together[1].counts, alone[1].counts)
    Several(()).update(values)
