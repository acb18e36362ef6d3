from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnx_pare.calibration.moments import Moments
from onnx_pare.calibration.window import Window
from onnx_pare.quantization.affine import INT32_MAX, bias_floor, quantize_weight, weight_scales
from onnx_pare.quantization.layers import Layers, Rounded, from_rows, to_rows

Array = np.ndarray
RNG = np.random.default_rng


def positive_inputs(width: int = 24) -> Array:
    """Return rows as after a Relu: their mean is far from zero, and they resemble each other."""
    rng = RNG(3)
    shared = rng.normal(size=(500, 1))
    return np.maximum(rng.normal(size=(500, width)) + 2 * shared + 0.5, 0).astype(np.float32)


def moments_of(inputs: Array, where: Window | None = None) -> Moments:
    moments = Moments(where or Window(), samples=1)
    moments.update(inputs)
    return moments


WEIGHT = RNG(0).normal(size=(24, 6)).astype(np.float32)
BIAS = RNG(1).normal(size=6).astype(np.float32)
INPUTS = positive_inputs()
COARSE = Layers(limit=7, moments={"n": moments_of(INPUTS)})


def rounded(
    layers: Layers, bias: Array | None = BIAS, *, biased: bool = True, shared: bool = False
) -> Rounded:
    """Round the weight of a MatMul."""
    return layers.round("n", WEIGHT, bias, 1, 0.1, biased=biased, shared=shared)


def output_error(found: Rounded, bias: Array | None = BIAS) -> Array:
    """Return what the integers change of the outputs, shape (rows, channels)."""
    restored = found.integers * found.scales.astype(np.float64)
    added = 0.0 if found.bias is None else found.bias
    return INPUTS @ (restored - WEIGHT) + added - (0.0 if bias is None else bias)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("bias", [BIAS, None])
@pytest.mark.parametrize("per_channel", [True, False])
def test_bias_correction_makes_the_mean_error_vanish(per_channel: bool, bias: Array | None, adaptive: bool):
    plain = replace(COARSE, per_channel=per_channel, adaptive=adaptive)
    before = output_error(rounded(plain, bias), bias).mean(axis=0)
    corrected = rounded(replace(plain, correct=True), bias)
    assert corrected.bias is not None
    assert corrected.bias.shape == (6,)
    assert np.abs(before).max() > 0.01
    np.testing.assert_allclose(output_error(corrected, bias).mean(axis=0), 0, atol=1e-5)


def test_a_layer_that_can_take_no_bias_gets_none():
    assert rounded(replace(COARSE, correct=True), None, biased=False).bias is None
    assert rounded(COARSE, None).bias is None


def test_adaptive_rounding_and_clipped_scales_change_outputs_less():
    nearest = output_error(rounded(replace(COARSE, correct=True)))
    adaptive = output_error(rounded(replace(COARSE, correct=True, adaptive=True)))
    assert np.square(adaptive).mean() < 0.6 * np.square(nearest).mean()
    clipped = rounded(replace(COARSE, clip=True))
    assert (clipped.scales <= rounded(COARSE).scales).all()


def test_depthwise_convolutions_are_corrected_by_channel():
    where = Window((3, 3), (1, 1), (1, 1), (0, 0, 0, 0), groups=4)
    weight = RNG(0).normal(size=(4, 1, 3, 3)).astype(np.float32)
    inputs = np.maximum(RNG(1).normal(size=(2, 4, 9, 9)) + 0.5, 0).astype(np.float32)
    layers = Layers(limit=7, correct=True, adaptive=True, moments={"n": moments_of(inputs, where)})
    found = layers.round("n", weight, None, 0, 0.1, biased=True)
    assert found.integers.shape == weight.shape
    assert found.bias is not None
    lost = found.integers * found.scales.reshape(4, 1, 1, 1).astype(np.float64) - weight
    patches = np.lib.stride_tricks.sliding_window_view(inputs, (3, 3), axis=(2, 3))
    mean = np.einsum("nchwij,cij->c", patches, lost[:, 0]) / (2 * 7 * 7)
    np.testing.assert_allclose(mean + found.bias, 0, atol=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_a_bias_that_would_overflow_raises_its_scale(known: bool):
    weight = WEIGHT * np.where(np.arange(6) == 2, 1e-8, 1).astype(np.float32)
    bias, input_scale = np.full(6, 5.0, np.float32), 1e-4
    layers = Layers(moments=COARSE.moments if known else {})
    found = layers.round("n", weight, bias, 1, input_scale, biased=True)
    plain = layers.round("n", weight, None, 1, input_scale, biased=True)
    floor = bias_floor(bias, input_scale)
    assert found.scales[2] == pytest.approx(floor[2], rel=1e-6)
    others = np.arange(6) != 2
    np.testing.assert_array_equal(found.scales[others], plain.scales[others])
    assert (bias / (found.scales.astype(np.float64) * input_scale) < INT32_MAX).all()


def test_auto_takes_one_scale_where_a_bias_forces_scales_up_and_it_costs_less():
    layers = replace(COARSE, per_channel="auto")
    assert rounded(layers).axis == 1
    # per channel, the bias forces the scale of weights of 1.2 up to 1; one scale for both is exact
    weight = np.array([1.2, 1.2 * 7], np.float32) * np.ones((24, 1), np.float32)
    bias = np.array([0.5e-6 * INT32_MAX, 0.0], np.float32)
    found = layers.round("n", weight, bias, 1, 1e-6, biased=True)
    assert found.axis is None
    assert found.scales == pytest.approx(1.2)
    np.testing.assert_array_equal(found.integers, np.array([1, 7]) * np.ones((24, 1)))
    always = replace(layers, per_channel=True).round("n", weight, bias, 1, 1e-6, biased=True)
    np.testing.assert_allclose(always.scales, [1.0, 1.2], rtol=1e-6)


@pytest.mark.parametrize("reason", ["shared", "nothing known", "nothing seen"])
def test_without_moments_of_its_own_a_layer_is_rounded_to_nearest(reason: str):
    moments = {"shared": COARSE.moments, "nothing known": {}, "nothing seen": {"n": Moments(Window(), 1)}}
    layers = replace(COARSE, adaptive=True, correct=True, clip=True, moments=moments[reason])
    found = rounded(layers, shared=reason == "shared")
    scales = weight_scales(WEIGHT, 1, BIAS, 0.1, 7)
    np.testing.assert_array_equal(found.scales, scales)
    np.testing.assert_array_equal(found.integers, quantize_weight(WEIGHT, scales, 1, 7))
    np.testing.assert_array_equal(found.bias, BIAS)
    assert (rounded(replace(layers, moments=COARSE.moments)).integers != found.integers).any()


@pytest.mark.parametrize(("shape", "axis", "groups"), [((5, 3), 1, 1), ((5, 3), 0, 1), ((6, 2, 3, 3), 0, 3)])
def test_rows_are_those_of_the_output_channels(shape: tuple[int, ...], axis: int, groups: int):
    weight = np.arange(np.prod(shape)).reshape(shape)
    rows = to_rows(weight, axis, groups)
    channels = shape[axis]
    assert rows.shape == (groups, channels // groups, weight.size // channels)
    expected = np.moveaxis(weight, axis, 0).reshape(channels, -1)
    np.testing.assert_array_equal(rows.reshape(channels, -1), expected)
    np.testing.assert_array_equal(from_rows(rows, weight, axis), weight)
