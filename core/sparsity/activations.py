"""Activations that make exact zeros, and counting them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onnx_pare.graph.edit import constant
from onnx_pare.sparsity.metadata import Zeros

if TYPE_CHECKING:
    import onnx_ir as ir

# what keeps the axis of the channels on the way from a matrix product to its activation
_KEEPS_AXIS = frozenset(
    {
        "Add",
        "BatchNormalization",
        "Div",
        "LayerNormalization",
        "Mul",
        "QuantizeLinear",
        "DequantizeLinear",
        "Sub",
    }
)


def makes_zeros(node: ir.Node) -> bool:
    """Return whether the node sets everything below a bound to zero.

    Relu; Clip from 0; ThresholdedRelu; and Max with the constant 0. Operators that only pass zeros on
    (MaxPool, Concat, …) do not count.
    """
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    return rule is not None and rule(node)


def channels_last(node: ir.Node) -> bool:
    """Return whether the node's channels are its last axis: it follows a MatMul or Gemm, element by element.

    All else, convolutions above all, has them on axis 1.
    """
    producer = _maker(node)
    while producer is not None and producer.op_type in _KEEPS_AXIS:
        producer = _maker(producer)
    return producer is not None and producer.op_type in ("Gemm", "MatMul")


@dataclass
class ZeroCounter:
    """Counts the zeros of one activation, per channel; a `calibration.observers.Observer`.

    Attributes:
        last: Whether the channels are the last axis rather than axis 1.
        zeros: Zeros of each channel; of shape (1,) if the activation has no axis for channels.
        elements: Elements of each channel.
        axis: The axis that counts channels, once known.
    """

    last: bool = False
    zeros: NDArray[np.int64] | None = None
    elements: int = 0
    axis: int | None = None

    def update(self, array: NDArray[Any]) -> None:
        """Count one more activation, of shape (batch, channels, …) or (batch, …, channels)."""
        self.axis = None if array.ndim < 2 else (array.ndim - 1 if self.last else 1)
        others = tuple(axis for axis in range(array.ndim) if axis != self.axis)
        zeros = np.atleast_1d(np.count_nonzero(array == 0, axis=others)).astype(np.int64)
        if self.zeros is not None and self.zeros.shape != zeros.shape:
            # the number of channels depends on the sample: only the total means something
            self.zeros, zeros, self.axis = self.zeros.sum(keepdims=True), zeros.sum(keepdims=True), None
        self.zeros = zeros if self.zeros is None else self.zeros + zeros
        self.elements += array.size

    def result(self) -> Zeros:
        """Return the fractions over all that was seen; nothing seen counts as no zeros."""
        if self.zeros is None or not self.elements:
            return Zeros(0.0)
        total = float(self.zeros.sum() / self.elements)
        if self.axis is None:
            return Zeros(total)
        per_channel = self.elements // len(self.zeros)
        return Zeros(
            total,
            self.axis,
            tuple(float(count / per_channel) for count in self.zeros),
            tuple(int(channel) for channel in np.flatnonzero(self.zeros == per_channel)),
        )


def _maker(node: ir.Node) -> ir.Node | None:
    """Return the node that makes the first input which is not constant."""
    makers = (value.producer() for value in node.inputs if value is not None)
    return next((maker for maker in makers if maker is not None and maker.op_type != "Constant"), None)


def _clips_at_zero(node: ir.Node) -> bool:
    if "min" in node.attributes:  # until opset 10
        return node.attributes.get_float("min", -1.0) == 0
    return len(node.inputs) > 1 and _is_zero(node.inputs[1])


def _max_with_zero(node: ir.Node) -> bool:
    return any(_is_zero(value) for value in node.inputs)


def _is_zero(value: ir.Value | None) -> bool:
    array = constant(value)
    return array is not None and array.size == 1 and not array.any()


_RULES: dict[str, Callable[[ir.Node], bool]] = {
    "Clip": _clips_at_zero,
    "Max": _max_with_zero,
    "Relu": lambda node: True,
    "ThresholdedRelu": lambda node: True,
}
