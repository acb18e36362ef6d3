from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.quantization.affine import (
    CLIPS,
    INT32_MAX,
    INTEGERS,
    Integers,
    activation_affine,
    bias_floor,
    clipped_scales,
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


RANGES = [(0.0, 6.0), (-1.0, 1.0), (-1.0, 3.0), (-7.0, 0.0), (-1e-3, 5.0), (-3e4, 1e-2)]


@pytest.mark.parametrize("integers", INTEGERS)
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_every_type_covers_the_range_and_holds_zero(low: float, high: float, integers: Integers):
    affine = activation_affine(low, high, integers)
    assert affine.zero_point.dtype == integers
    limits, zero, scale = np.iinfo(integers), int(affine.zero_point), float(affine.scale)
    assert limits.min <= zero <= limits.max
    assert (limits.min - zero) * scale <= low + 1e-6 * abs(low)
    assert (limits.max - zero) * scale >= high - 1e-6 * abs(high)
    values = np.linspace(low, high, 999).astype(np.float32)
    restored = scale * (quantize_activation(values, affine).astype(np.float64) - zero)
    # float32 values are themselves off by up to 2^-24 of their size
    assert np.abs(restored - values).max() <= scale * 0.5 + 1e-6 * max(abs(low), abs(high))
    np.testing.assert_array_equal(quantize_activation(np.zeros(3, np.float32), affine), zero)


@pytest.mark.parametrize("integers", INTEGERS)
@pytest.mark.parametrize(("low", "high"), [*RANGES, (-0.278, 20.0), (-1.49, 253.51), (-253.51, 1.49)])
def test_no_scale_is_coarser_than_the_range_needs(low: float, high: float, integers: Integers):
    steps = np.iinfo(integers).max - np.iinfo(integers).min
    needed = (high - low) / steps
    assert float(activation_affine(low, high, integers).scale) <= needed * (1 + 2 / steps)


def test_signed_types_are_unsigned_ones_moved():
    for signed, unsigned, offset in (("int8", "uint8", 128), ("int16", "uint16", 32768)):
        for low, high in RANGES:
            one, other = activation_affine(low, high, signed), activation_affine(low, high, unsigned)
            assert one.scale == other.scale
            assert int(one.zero_point) == int(other.zero_point) - offset


def test_pixels_around_zero_are_not_all_ties():
    """Pixels p / 127.5 - 1 are 255 steps of the range: with the scale 2 / 255 they all fall half-way."""
    affine = activation_affine(-1.0, 1.0)
    pixels = np.arange(256) / 127.5 - 1
    steps = pixels / float(affine.scale)
    assert np.mean(np.abs(np.abs(steps - np.floor(steps)) - 0.5) < 0.01) < 0.1
    restored = (
        quantize_activation(pixels, affine).astype(np.float64) - int(affine.zero_point)
    ) * affine.scale
    assert len(np.unique(restored)) > 250
    assert np.abs(restored - pixels).mean() < 0.3 * float(affine.scale)


def test_the_floor_of_a_bias_leaves_half_of_int32():
    bias = np.array([3.0, -6.0, 0.0], np.float32)
    floor = bias_floor(bias, 0.01)
    np.testing.assert_allclose(bias[:2] / (0.01 * floor[:2]), [INT32_MAX / 2, -INT32_MAX / 2])
    assert floor[2] == 0.0


def test_smaller_integers_for_weights():
    weight = np.random.default_rng(2).normal(size=(3, 50)).astype(np.float32)
    scales = weight_scales(weight, 0, None, 1.0, limit=64)
    integers = quantize_weight(weight, scales, 0, limit=64)
    np.testing.assert_array_equal(np.abs(integers).max(axis=1), 64)
    np.testing.assert_allclose(scales, np.abs(weight).max(axis=1) / 64, rtol=1e-6)
    assert np.abs(quantize_weight(4 * weight, scales, 0, limit=64)).max() == 64


@pytest.mark.parametrize("limit", [7, 127])
def test_clipped_scales_cost_least_of_all_that_are_tried(limit: int):
    rng = np.random.default_rng(4)
    weight, variances = rng.standard_t(3, size=(2, 5, 40)), rng.random((2, 40))

    def cost(scales: np.ndarray) -> np.ndarray:
        steps = np.clip(np.round(weight / scales[..., None]), -limit, limit)
        return (np.square(steps * scales[..., None] - weight) * variances[:, None]).sum(axis=2)

    largest = np.abs(weight).max(axis=2) / limit
    chosen = clipped_scales(weight, variances, limit)
    assert chosen.shape == (2, 5)
    np.testing.assert_allclose(cost(chosen), np.min([cost(largest * c) for c in CLIPS], axis=0))
    assert (cost(chosen) <= cost(largest)).all()
    if limit == 7:
        assert (chosen < largest).any()


def test_clipped_scales_protect_what_inputs_vary_along():
    weight = np.array([[[1.0, 0.05, 0.06, 0.07]]])
    scale = 1.0 / 7
    assert clipped_scales(weight, np.array([[1.0, 0.0, 0.0, 0.0]]), 7) == pytest.approx(scale)
    assert clipped_scales(weight, np.array([[0.0, 1.0, 1.0, 1.0]]), 7) < scale
    assert clipped_scales(np.zeros((1, 1, 3)), np.ones((1, 3)), 7) > 0
