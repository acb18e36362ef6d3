from __future__ import annotations

import numpy as np

from onnx_pare.calibration.peaks import Peaks


def seen(*activations: list[list[float]]) -> Peaks:
    """Return what was seen of activations of shape (samples, channels)."""
    peaks = Peaks()
    for each in activations:
        peaks.update(np.array(each, np.float32)[..., None])
    return peaks


def test_what_is_expected_grows_with_the_difference_between_halves():
    peaks = seen([[4.0, -3.0, 0.0, 1.0]], [[-2.0, 3.0, 0.0, 0.0]])
    np.testing.assert_array_equal(peaks.expected(), [8.0, 3.0, 0.0, np.inf])
    assert peaks.highest() == 4.0


def test_halves_alternate_over_single_samples_and_within_batches():
    samples = np.random.default_rng(0).normal(size=(8, 3, 5)).astype(np.float32)
    single, batched = Peaks(), Peaks()
    for i in range(8):
        single.update(samples[i : i + 1])
    batched.update(samples[:4])
    batched.update(samples[4:])
    even, odd = (np.abs(samples[i::2]).max(axis=(0, 2)) for i in (0, 1))
    for peaks in (single, batched):
        np.testing.assert_allclose(peaks.halves, [even, odd])
    assert single.highest() == np.abs(samples).max()


def test_a_single_sample_leaves_all_unknown():
    np.testing.assert_array_equal(seen([[1.0, 2.0]]).expected(), [np.inf, np.inf])
    assert seen([[1.0, 2.0]]).highest() == 2.0


def test_what_is_not_finite_or_has_no_channels_is_left_out():
    peaks = seen([[np.nan, 1.0]], [[np.inf, 1.0]])
    assert peaks.highest() == 1.0
    none = Peaks()
    none.update(np.ones(4, np.float32))
    none.update(np.ones((0, 4), np.float32))
    assert none.highest() == 0.0
    assert none.expected().shape == (0,)
