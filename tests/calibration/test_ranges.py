from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnx_pare.calibration.observers import Histogram
from onnx_pare.calibration.ranges import NEAR_END_SHARE, WORTH_DB, Range, choose_range

METHODS = ("auto", "minmax", "percentile", "mse", "entropy")
COUNT = 50_000


def histogram(values: np.ndarray) -> Histogram:
    made = Histogram()
    made.update(values.astype(np.float32))
    return made


def squared_error(values: np.ndarray, low: float, high: float, levels: int) -> float:
    """Quantize as `quantization.affine` does, and compare."""
    step = (high - low) / (levels - 1) or 1.0
    zero = np.round(-low / step)
    integers = np.clip(np.round(values / step) + zero, 0, levels - 1)
    return float(np.mean((step * (integers - zero) - values) ** 2))


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    normal = rng.normal(size=COUNT)
    made = {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "relu6": np.clip(4 * normal, 0, 6),
        "hard_tanh": np.clip(2 * normal, -1, 1),
        "laplace": rng.laplace(size=COUNT),
        "silu": 2 * normal / (1 + np.exp(-2 * normal)),
        "sigmoid": 1 / (1 + np.exp(-4 * normal)),
        "student": rng.standard_t(3, size=COUNT),
        "negative": -np.abs(normal),
        "offset": 5 + rng.random(COUNT),
        "outlier": np.append(normal, 60.0),
    }
    return {name: array.astype(np.float32).astype(np.float64) for name, array in made.items()}


TENSORS = tensors()


@pytest.mark.parametrize("levels", [16, 128, 256, 65536])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", TENSORS)
def test_the_expected_error_is_the_one_that_quantizing_makes(name: str, method: str, levels: int):
    values = TENSORS[name]
    found = choose_range(histogram(values), method, levels=levels)
    real = squared_error(values, found.low, found.high, levels)
    tolerance_db = 0.8 if levels > 16 else 1.5  # few levels: values are not spread evenly over a step
    assert 10 * math.log10(real / found.squared_error) == pytest.approx(0, abs=tolerance_db)
    assert found.sqnr_db == pytest.approx(10 * math.log10(np.mean(values**2) / found.squared_error), abs=0.02)


@pytest.mark.parametrize("levels", [16, 128, 256])
@pytest.mark.parametrize("name", TENSORS)
def test_mse_is_as_good_as_an_exhaustive_search(name: str, levels: int):
    values = TENSORS[name][:5000]
    found = choose_range(histogram(values), "mse", levels=levels)
    low, high = min(values.min(), 0), max(values.max(), 0)
    tried = [
        squared_error(values, low * a, high * b, levels)
        for a in (np.linspace(0.02, 1, 40) if low < 0 else [0])
        for b in (np.linspace(0.02, 1, 40) if high > 0 else [0])
    ]
    real = squared_error(values, found.low, found.high, levels)
    assert 10 * math.log10(real / min(tried)) < 0.4


def test_mse_of_a_normal_distribution_is_the_known_optimum():
    # Max 1960, table II: 16 uniform levels of a unit normal distribution lie 0.3352 apart, error 0.01154
    values = np.random.default_rng(0).normal(size=400_000)
    found = choose_range(histogram(values), "mse", levels=16)
    assert (found.high - found.low) / 15 == pytest.approx(0.3352, rel=0.03)
    assert found.squared_error == pytest.approx(0.01154, rel=0.05)


@given(
    arrays(np.float32, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from(METHODS),
    st.sampled_from([2, 16, 128, 256, 65536]),
)
@settings(max_examples=200, deadline=None)
def test_every_range_holds_zero_and_stays_within_the_values(values: np.ndarray, method: str, levels: int):
    found = choose_range(histogram(values), method, levels=levels)
    assert min(values.min(), 0) <= found.low <= 0 <= found.high <= max(values.max(), 0)
    assert not math.isnan(found.squared_error)
    assert found.squared_error >= 0


@given(
    arrays(np.float32, st.integers(1, 200), elements=st.floats(-8, 8, width=32)),
    st.sampled_from(METHODS),
    st.integers(-20, 20),
)
@settings(max_examples=100, deadline=None)
def test_a_power_of_two_scales_the_range_alone(values: np.ndarray, method: str, power: int):
    # smaller values than these are not told from zero
    values = np.where(np.abs(values) < 1e-6, 0, values).astype(np.float32)
    one = choose_range(histogram(values), method)
    other = choose_range(histogram(values * np.float32(2.0**power)), method)
    assert (other.low, other.high) == pytest.approx((one.low * 2.0**power, one.high * 2.0**power))


@given(arrays(np.float32, st.integers(2, 300), elements=st.floats(-100, 100, width=32)), st.randoms())
@settings(max_examples=100, deadline=None)
def test_the_range_depends_on_neither_order_nor_batches(values: np.ndarray, random):
    pieces = Histogram()
    shuffled = list(values)
    random.shuffle(shuffled)
    cut = random.randint(0, len(shuffled))
    for piece in (shuffled[:cut], shuffled[cut:]):
        pieces.update(np.array(piece, np.float32))
    for method in METHODS:
        assert choose_range(pieces, method) == choose_range(histogram(values), method)


@pytest.mark.parametrize(("name", "low", "high"), [("relu6", 0, 6), ("hard_tanh", -1, 1)])
@pytest.mark.parametrize("levels", [16, 256])
def test_auto_never_clips_a_plateau(name: str, low: float, high: float, levels: int):
    found = choose_range(histogram(TENSORS[name]), "auto", levels=levels)
    assert (found.low, found.high, found.method) == (low, high, "minmax")


def test_auto_keeps_a_rare_plateau_that_mse_would_clip():
    rng = np.random.default_rng(0)
    values = np.append(np.abs(rng.normal(size=100_000)), np.full(30, 8.0))
    assert choose_range(histogram(values), "mse", levels=16).high < 5
    assert choose_range(histogram(values), "auto", levels=16).high == 8


def test_auto_keeps_the_end_that_a_sigmoid_saturates_at():
    values = TENSORS["sigmoid"]
    assert np.mean(values > 1 - 1 / 15) > NEAR_END_SHARE
    found = choose_range(histogram(values), "auto", levels=16)
    assert (found.low, found.high) == (0, values.max())


def test_auto_clips_where_it_pays():
    found = choose_range(histogram(TENSORS["student"]), "auto")
    plain = choose_range(histogram(TENSORS["student"]), "minmax")
    narrow = choose_range(histogram(TENSORS["student"]), "mse")
    assert plain.low < found.low < narrow.low < narrow.high < found.high < plain.high
    assert found.method == "mse"
    assert found.sqnr_db > plain.sqnr_db + WORTH_DB


def test_auto_keeps_the_extremes_where_little_is_gained():
    values = np.random.default_rng(0).uniform(-1, 1, 10_000)
    assert choose_range(histogram(values), "auto").method == "minmax"


@pytest.mark.parametrize("method", METHODS)
def test_a_range_that_starts_at_zero_stays_unsigned(method: str):
    assert choose_range(histogram(TENSORS["relu"]), method).low == 0.0
    assert choose_range(histogram(TENSORS["negative"]), method).high == 0.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [np.zeros(9), np.zeros(0), np.full(9, 5.0), np.array([-2.0])])
def test_what_needs_one_level_has_no_error(values: np.ndarray, method: str):
    found = choose_range(histogram(values), method)
    ends = (min(values.min(initial=0), 0), max(values.max(initial=0), 0))
    kind = "minmax" if method == "auto" else method
    assert found == Range(*ends, kind, 0.0, math.inf)


def test_exact_zeros_cost_nothing():
    some = np.abs(np.random.default_rng(0).normal(size=1000)) + 1
    padded = np.append(some, np.zeros(9000))
    plain, sparse = (choose_range(histogram(v), "minmax") for v in (some, padded))
    assert sparse.squared_error == pytest.approx(plain.squared_error / 10)
    assert choose_range(histogram(padded), "mse").high == choose_range(histogram(some), "mse").high


def test_the_choice_takes_less_than_two_milliseconds():
    seen = histogram(TENSORS["laplace"])
    for method in METHODS:
        seconds = []
        for _ in range(20):
            start = time.perf_counter()
            choose_range(seen, method)
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < 2e-3, method


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="'median'"):
        choose_range(Histogram(), "median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 levels"):
        choose_range(Histogram(), "mse", levels=1)
