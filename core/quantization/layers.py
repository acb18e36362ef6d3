"""The integers of one layer's weights and bias: scales, rounding, and what the bias makes good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from onnx_pare.calibration.moments import Moments
from onnx_pare.quantization.affine import (
    WEIGHT_LIMIT,
    bias_floor,
    clipped_scales,
    quantize_weight,
    usable_scales,
    weight_scales,
)
from onnx_pare.quantization.rounding import round_weights

Array = np.ndarray[Any, Any]
PerChannel = bool | Literal["auto"]


@dataclass(frozen=True)
class Rounded:
    """One layer in integers.

    Attributes:
        integers: int8, of the weight's shape.
        scales: Shape (channels,) along `axis`, or () for one scale over all.
        axis: The axis of the scales, None for one scale.
        bias: float64, shape (channels,), what is to be held as int32; None where the layer has no bias.
    """

    integers: Array
    scales: Array
    axis: int | None
    bias: Array | None


@dataclass(frozen=True)
class Layers:
    """How layers are turned into integers.

    Attributes:
        per_channel: One scale per output channel, one for all, or for each layer what costs its output less.
        limit: Largest integer of a weight.
        clip: Choose scales by the error they cause, not by the largest weight.
        adaptive: Round for least error of the layer's output (`rounding`), not to the nearest level.
        correct: Add the mean of what rounding takes from the output to the bias.
        moments: What is known of the inputs, by node name; a layer without is rounded to nearest.
    """

    per_channel: PerChannel = True
    limit: int = WEIGHT_LIMIT
    clip: bool = False
    adaptive: bool = False
    correct: bool = False
    moments: Mapping[str, Moments] = field(default_factory=dict)
    _kept: dict[tuple[Any, ...], Array] = field(default_factory=dict)

    def round(
        self,
        name: str,
        weight: Array,
        bias: Array | None,
        axis: int,
        input_scale: float,
        *,
        biased: bool,
        shared: bool = False,
    ) -> Rounded:
        """Return the integers of a layer.

        With Ŵ the rounded weights, the output loses (W − Ŵ) · E[x] on average, which the bias is given back
        (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction").

        Args:
            name: The layer's.
            weight: Its weights.
            bias: Its bias, shape (channels,), or None.
            axis: The axis of the output channels.
            input_scale: The scale its input is held at.
            biased: Whether a bias can be given to a layer that has none.
            shared: Whether other layers read the weight too: all must find the same integers.
        """
        moments = None if shared else self.moments.get(name)
        if moments is None or not moments.seen():
            return self._to_nearest(weight, bias, axis, input_scale)
        groups = moments.window.groups
        rows = to_rows(weight, axis, groups).astype(np.float64)
        floor = None if bias is None else bias_floor(bias, input_scale)
        tried = [
            self._round_rows(name, rows, floor, moments, per_channel=per_channel)
            for per_channel in self._choices(rows, floor)
        ]
        integers, scales, per_channel, _ = min(tried, key=lambda one: one[3])
        lost = rows - integers * scales[..., None]
        if self.correct and (bias is not None or biased):
            shift = np.einsum("gok,gk->go", lost, moments.mean()).reshape(-1)
            bias = shift if bias is None else bias.astype(np.float64) + shift
        stored = from_rows(integers, weight, axis).astype(np.int8)
        flat = scales.reshape(-1).astype(np.float32)
        return Rounded(
            stored, flat if per_channel else np.asarray(flat[0]), axis if per_channel else None, bias
        )

    def _choices(self, rows: Array, floor: Array | None) -> tuple[bool, ...]:
        """Return whether to try scales per channel: one for all is only better where biases force them up."""
        if self.per_channel != "auto":
            return (self.per_channel,)
        peaks = np.abs(rows).max(axis=-1, initial=0.0).reshape(-1) / self.limit
        return (True, False) if floor is not None and (floor > peaks).any() else (True,)

    def _round_rows(
        self, name: str, rows: Array, floor: Array | None, moments: Moments, *, per_channel: bool
    ) -> tuple[Array, Array, bool, float]:
        """Return integers, scales (groups, rows), whether they differ by row, and the error of the output."""
        covariance = moments.covariance()
        variances = np.diagonal(covariance, axis1=2, axis2=3).reshape(len(rows), -1)[:, : rows.shape[2]]
        scales = self._scales(rows, variances, floor, per_channel=per_channel)
        if self.adaptive:
            integers = self._adapted(name, rows, scales, covariance)
        else:
            integers = np.clip(np.round(rows / scales[..., None]), -self.limit, self.limit)
        lost = np.square(rows - integers * scales[..., None])
        return integers, scales, per_channel, float(np.einsum("gok,gk->", lost, variances))

    def _adapted(self, name: str, rows: Array, scales: Array, covariance: Array) -> Array:
        """Return the integers of least error; they are kept, since candidates share most of their layers."""
        key = (name, self.limit, scales.tobytes(), hash(rows.tobytes()))
        if key not in self._kept:
            self._kept[key] = round_weights(rows, scales, covariance, self.limit).astype(np.int8)
        return self._kept[key].astype(np.float64)

    def _scales(self, rows: Array, variances: Array, floor: Array | None, *, per_channel: bool) -> Array:
        if self.clip and per_channel:
            scales = clipped_scales(rows, variances, self.limit)
        else:
            scales = np.abs(rows).max(axis=-1, initial=0.0) / self.limit
        if floor is not None:
            scales = np.maximum(scales, floor.reshape(scales.shape))
        if not per_channel:
            scales = np.broadcast_to(scales.max(initial=0.0), scales.shape)
        return usable_scales(scales).astype(np.float64)

    def _to_nearest(self, weight: Array, bias: Array | None, axis: int, input_scale: float) -> Rounded:
        own = axis if self.per_channel else None
        scales = weight_scales(weight, own, bias, input_scale, self.limit)
        return Rounded(quantize_weight(weight, scales, own, self.limit), scales, own, bias)


def to_rows(weight: Array, axis: int, groups: int) -> Array:
    """Return a weight as (groups, rows, inputs): a row for each output channel of a group."""
    if weight.ndim == 2 and axis == 1:
        return np.asarray(weight.T[None])
    return np.asarray(weight.reshape(groups, weight.shape[0] // groups, -1))


def from_rows(rows: Array, like: Array, axis: int) -> Array:
    """Return what `to_rows` made of an array of the shape of `like`, in that shape again."""
    if like.ndim == 2 and axis == 1:
        return np.ascontiguousarray(rows[0].T)
    return np.asarray(rows.reshape(like.shape))
