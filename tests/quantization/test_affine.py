from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.quantization.affine import (
    activation_affine,
    quantize_activation,
    quantize_bias,
    quantize_weight,
    weight_scales,
)


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, 3.0), (2.0, 5.0), (-7.0, -1.0), (0.0, 1e-3)])
def test_zero_is_exact_and_values_are_within_half_a_step(low: float, high: float):
    affine = activation_affine(low, high)
    scale, zero = float(affine.scale), int(affine.zero_point)
    assert quantize_activation(np.zeros(1, np.float32), affine)[0] == zero
    values = np.linspace(min(low, 0), max(high, 0), 1001).astype(np.float32)
    restored = scale * (quantize_activation(values, affine).astype(np.float64) - zero)
    assert np.abs(restored - values).max() <= scale * 1.01


@pytest.mark.parametrize("high", [6.0, 1.0, 0.1, 3.7, 255.0])
def test_a_range_from_zero_never_reaches_beyond_its_end(high: float):
    affine = activation_affine(0.0, high)
    assert affine.zero_point == 0
    assert float(affine.scale) * 255 <= high


@pytest.mark.filterwarnings("error")
def test_the_widest_range_has_a_finite_scale():
    assert np.isfinite(activation_affine(-3.4e38, 3.4e38).scale)
    assert np.isfinite(activation_affine(0.0, 1e300).scale)


def test_an_empty_range_has_a_usable_scale():
    assert float(activation_affine(0.0, 0.0).scale) == 1.0


def test_weights_per_channel_are_within_half_a_step():
    weight = np.random.default_rng(0).normal(size=(8, 4, 3, 3)).astype(np.float32)
    weight *= np.logspace(-3, 3, 8).astype(np.float32).reshape(8, 1, 1, 1)
    scales = weight_scales(weight, 0, None, 1.0)
    integers = quantize_weight(weight, scales, 0)
    assert scales.shape == (8,)
    assert integers.dtype == np.int8
    assert integers.min() >= -127
    steps = scales.reshape(8, 1, 1, 1)
    assert (np.abs(integers * steps - weight) <= steps * 0.501).all()
    np.testing.assert_array_equal(np.abs(integers).reshape(8, -1).max(axis=1), 127)


def test_one_scale_per_tensor():
    weight = np.array([[1.0, -2.0], [0.5, 0.25]], np.float32)
    scales = weight_scales(weight, None, None, 1.0)
    assert scales.shape == ()
    np.testing.assert_array_equal(quantize_weight(weight, scales, None), [[64, -127], [32, 16]])


def test_a_channel_of_zeros_keeps_a_usable_scale():
    scales = weight_scales(np.zeros((2, 3), np.float32), 0, np.zeros(2, np.float32), 0.1)
    np.testing.assert_array_equal(scales, [1.0, 1.0])


def test_a_large_bias_on_tiny_weights_does_not_overflow():
    weight, bias = np.full((1, 4), 1e-9, np.float32), np.array([5.0], np.float32)
    scales = weight_scales(weight, 0, bias, 1e-4)
    integers = quantize_bias(bias, 1e-4, scales)
    assert integers.dtype == np.int32
    assert integers[0] * 1e-4 * float(scales[0]) == pytest.approx(5.0, rel=1e-6)
