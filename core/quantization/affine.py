"""Affine quantization of tensors: real = scale · (integer − zero_point).

The scheme is that of ONNX QuantizeLinear and DequantizeLinear
(https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html) and of Jacob et al. 2018, "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference": uint8 activations with a zero
point, int8 weights around zero with one scale per output channel, int32 biases with scale input · weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
INT32_MAX = 2**31 - 1
TINY, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Affine:
    """Parameters of one uint8 tensor: real = scale · (integer − zero_point)."""

    scale: np.float32
    zero_point: np.uint8


def activation_affine(low: float, high: float) -> Affine:
    """Return the uint8 parameters that cover [low, high] and hold zero exactly.

    For a range that starts at zero the highest representable value never exceeds `high`: runtimes drop a
    Relu or Clip before a QuantizeLinear only where the integer range lies inside the clip's.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < TINY * 255:
        return Affine(np.float32(1.0), np.uint8(0))
    scale = np.float32(min((high - low) / 255.0, LARGEST))
    if low == 0.0 and float(scale) * 255.0 > high:
        scale = np.nextafter(scale, np.float32(0))
    return Affine(scale, np.uint8(np.clip(np.round(-low / float(scale)), 0, 255)))


def quantize_activation(array: Array, affine: Affine) -> Array:
    """Return `array` as uint8, rounded half to even and saturated as QuantizeLinear does."""
    steps = np.round(array.astype(np.float64) / float(affine.scale)) + float(affine.zero_point)
    return np.clip(steps, 0, 255).astype(np.uint8)


def weight_scales(weight: Array, axis: int | None, bias: Array | None, input_scale: float) -> Array:
    """Return the int8 scales of a weight: shape (channels,) for an axis, () for one scale over all.

    scale = max|w| / 127, raised where the bias would not fit into int32 at scale input_scale · scale: a
    channel of tiny weights with a large bias overflows otherwise.
    """
    magnitudes = np.abs(weight.astype(np.float64))
    if axis is None:
        peaks = magnitudes.max(initial=0.0)
    else:
        peaks = magnitudes.max(axis=tuple(i for i in range(weight.ndim) if i != axis), initial=0.0)
    scales = np.asarray(peaks / 127.0)
    if bias is not None:
        needed = np.abs(bias.astype(np.float64)) / (input_scale * INT32_MAX * 0.5)
        scales = np.maximum(scales, needed if axis is not None else needed.max(initial=0.0))
    scales = np.where(scales < TINY, 1.0, scales)
    return np.asarray(scales.astype(np.float32))


def quantize_weight(weight: Array, scales: Array, axis: int | None) -> Array:
    """Return `weight` as int8 in [-127, 127], rounded to nearest."""
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    steps = weight.astype(np.float64) / scales.astype(np.float64).reshape(shape)
    return np.clip(np.round(steps), -127, 127).astype(np.int8)


def quantize_bias(bias: Array, input_scale: float, scales: Array) -> Array:
    """Return `bias` as int32 at scale input_scale · scales."""
    steps = bias.astype(np.float64) / (float(input_scale) * scales.astype(np.float64))
    return np.clip(np.round(steps), -INT32_MAX, INT32_MAX).astype(np.int32)
