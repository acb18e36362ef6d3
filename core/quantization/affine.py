"""Affine quantization of tensors: real = scale · (integer − zero_point).

The scheme is that of ONNX QuantizeLinear and DequantizeLinear
(https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html) and of Jacob et al. 2018, "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference": activations with a zero point,
int8 weights around zero with one scale per output channel, int32 biases with scale input · weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

Array = np.ndarray[Any, Any]
Integers = Literal["uint8", "int8", "uint16", "int16"]
INTEGERS: tuple[Integers, ...] = get_args(Integers)
INT32_MAX = 2**31 - 1
TINY, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
# largest magnitude of an 8-bit weight; with 7 bits, two products with uint8 fit into 16 bits together:
# 2 · 255 · 64 < 2^15, so that kernels that add pairs in 16 bits (x86 without VNNI) cannot saturate
WEIGHT_LIMIT, REDUCED_LIMIT = 127, 64
# shares of the largest magnitude that a scale is tried for
CLIPS = (1.0, 0.97, 0.94, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6)


@dataclass(frozen=True)
class Affine:
    """Parameters of one tensor: real = scale · (integer − zero_point), of the zero point's type."""

    scale: np.float32
    zero_point: np.integer[Any]


def activation_affine(low: float, high: float, integers: Integers = "uint8") -> Affine:
    """Return the parameters that cover [low, high] and hold zero exactly.

    The zero point is rounded first, then the scale chosen so that both ends still fit: nothing is clipped,
    and the values of an image, evenly spread and symmetric about zero, do not all fall between two integers.
    It is rounded to the side of the finer scale: 1.49 rounded to 1 would make the scale half as large again.
    For a range that starts at zero the highest representable value never exceeds `high`: runtimes drop a
    Relu or Clip before a QuantizeLinear only where the integer range lies inside the clip's.
    """
    kind = np.dtype(integers)
    lowest, steps = int(np.iinfo(kind).min), 2 ** (8 * kind.itemsize) - 1
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < TINY * steps:
        return Affine(np.float32(1.0), kind.type(0))
    if low == 0.0:
        scale, zero = np.float32(min(high / steps, LARGEST)), 0
        if float(scale) * steps > high:
            scale = np.nextafter(scale, np.float32(0))
    elif high == 0.0:
        scale, zero = np.float32(min(-low / steps, LARGEST)), steps
    else:
        exact = -low / (high - low) * steps
        near = [int(np.clip(zero, 1, steps - 1)) for zero in (np.ceil(exact), np.floor(exact))]
        least, zero = min(((max(-low / z, high / (steps - z)), z) for z in near), key=lambda one: one[0])
        scale = np.float32(min(least, LARGEST))
    return Affine(scale, kind.type(zero + lowest))


def quantize_activation(array: Array, affine: Affine) -> Array:
    """Return `array` in integers, rounded half to even and saturated as QuantizeLinear does."""
    limits = np.iinfo(affine.zero_point.dtype)
    steps = np.round(array.astype(np.float64) / float(affine.scale)) + float(affine.zero_point)
    return np.clip(steps, limits.min, limits.max).astype(affine.zero_point.dtype)


def weight_scales(
    weight: Array, axis: int | None, bias: Array | None, input_scale: float, limit: int = WEIGHT_LIMIT
) -> Array:
    """Return the int8 scales of a weight: shape (channels,) for an axis, () for one scale over all.

    scale = max|w| / limit, and at least `bias_floor`.
    """
    magnitudes = np.abs(weight.astype(np.float64))
    if axis is None:
        peaks = magnitudes.max(initial=0.0)
    else:
        peaks = magnitudes.max(axis=tuple(i for i in range(weight.ndim) if i != axis), initial=0.0)
    scales = np.asarray(peaks / limit)
    if bias is not None:
        floor = bias_floor(bias, input_scale)
        scales = np.maximum(scales, floor if axis is not None else floor.max(initial=0.0))
    return usable_scales(scales)


def bias_floor(bias: Array, input_scale: float) -> Array:
    """Return the least scale of each channel's weights whose bias fits into int32, shape (channels,).

    The bias is held at scale input_scale · scale: a channel of tiny weights with a large bias overflows
    otherwise. Half of the range is left for what is accumulated.
    """
    return np.asarray(np.abs(bias.astype(np.float64)) / (input_scale * INT32_MAX * 0.5))


def usable_scales(scales: Array) -> Array:
    """Return scales as float32, 1 where all weights are zero."""
    return np.asarray(np.where(scales < TINY, 1.0, scales).astype(np.float32))


def clipped_scales(weight: Array, variances: Array, limit: int) -> Array:
    """Return the scale of each row that costs its output least when weights are rounded to nearest.

    For each share c in `CLIPS` the scale c · max|w| / limit leaves E(c) = Σ_k v_k · (ŵ_k − w_k)², v being the
    variances of the inputs; the c of least E is taken (OMSE, Choukroun et al. 2019, arXiv:1902.06822,
    weighted by the inputs).

    Args:
        weight: Shape (groups, rows, inputs).
        variances: Shape (groups, inputs).
        limit: Largest integer.

    Returns:
        Shape (groups, rows).
    """
    peaks = np.abs(weight).max(axis=-1, initial=0.0)
    best = np.where(peaks < TINY, 1.0, peaks) / limit
    least = np.full(peaks.shape, np.inf)
    for share in CLIPS:
        scales = np.where(peaks < TINY, 1.0, peaks) * share / limit
        steps = np.clip(np.round(weight / scales[..., None]), -limit, limit)
        error = np.square(steps * scales[..., None] - weight)
        cost = np.einsum("gok,gk->go", error, variances)
        better = cost < least * (1 - 1e-9)
        best, least = np.where(better, scales, best), np.where(better, cost, least)
    return np.asarray(best)


def quantize_weight(weight: Array, scales: Array, axis: int | None, limit: int = WEIGHT_LIMIT) -> Array:
    """Return `weight` as int8 within ±`limit`, rounded to nearest."""
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    steps = weight.astype(np.float64) / scales.astype(np.float64).reshape(shape)
    return np.clip(np.round(steps), -limit, limit).astype(np.int8)


def quantize_bias(bias: Array, input_scale: float, scales: Array) -> Array:
    """Return `bias` as int32 at scale input_scale · scales."""
    steps = bias.astype(np.float64) / (float(input_scale) * scales.astype(np.float64))
    return np.clip(np.round(steps), -INT32_MAX, INT32_MAX).astype(np.int32)
