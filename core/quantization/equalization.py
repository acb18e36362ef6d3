"""Cross-layer equalization: channels of small range are scaled up, so that they get as many levels as others.

All channels of an activation share one scale. A channel whose largest magnitude r is far below the tensor's R
uses few of the levels. Scaling it by s, and taking s out again in the layers that read it,

    y = W₂ · f(W₁ · x + b₁)  =  (W₂ / s) · f(s · W₁ · x + s · b₁)        for f(s · x) = s · f(x), s > 0

changes nothing in floating point (Nagel et al. 2019, arXiv:1906.04721; Meller et al. 2019, arXiv:1902.01917).
Here s = (R / r) ^ `STRENGTH`, the least over all tensors that the channel lives in, so that it holds through
residual additions and concatenations as well (`graph.channels`). The exponent of ½ shares what is gained
between the activation's levels and the weights that read it, and leaves room for inputs not seen. r counts as
larger where samples differ much (`Peaks.expected`).

s is never below 1 and s · r never above R: the range of the tensor stays. With a Clip at an upper bound
B ≥ R, a scaled channel is cut off at B / s ≥ √(R · r): above anything that was seen of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.calibration.peaks import Peaks
from onnx_pare.graph.channels import Channels, trace
from onnx_pare.graph.edit import constant, set_constant
from onnx_pare.quantization.kernels import weight_axis
from onnx_pare.quantization.layers import from_rows, to_rows

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
STRENGTH = 0.5
# factors beyond are of channels that hardly ever fire
LARGEST = 16.0
# smaller changes are not worth new weights
LEAST = 1.05


def equalizable(model: ir.Model) -> Channels:
    """Return the channels of the model's main graph, tied as its layers and residual additions tie them."""
    return trace(model.graph, _is_layer)


def equalize(model: ir.Model, channels: Channels, peaks: Mapping[str, Peaks]) -> int:
    """Scale channels in place, and return how many.

    Args:
        model: Its main graph.
        channels: What `equalizable` found in it.
        peaks: What was seen of the channels, by name of the tensors that will be quantized.
    """
    factors = _factors(channels, peaks)
    if (factors <= LEAST).all():
        return 0
    for node in model.graph:
        if _is_layer(node):
            _scale_layer(node, channels, factors)
    return int((factors > LEAST).sum())


def _factors(channels: Channels, peaks: Mapping[str, Peaks]) -> Array:
    """Return the factor of every channel number; 1 for those that are no free root."""
    factors = np.full(len(channels), np.inf)
    for value in channels.of:
        seen = peaks.get(value.name or "")
        if seen is None or not seen.highest() > 0:
            continue
        own = seen.expected()
        if len(own) == len(channels.of[value]):
            room = np.divide(seen.highest(), own, out=np.full(len(own), np.inf), where=own > 0)
            np.minimum.at(factors, channels.roots(value), np.maximum(room, 1.0) ** STRENGTH)
    factors[~channels.free() | ~np.isfinite(factors)] = 1.0
    return np.asarray(np.clip(factors, 1.0, LARGEST))


def _scale_layer(node: ir.Node, channels: Channels, factors: Array) -> None:
    weight, axis = constant(node.inputs[1]), weight_axis(node)
    assert weight is not None
    assert axis is not None
    assert node.inputs[1] is not None
    groups = node.attributes.get_int("group", 1) if node.op_type == "Conv" else 1
    rows = to_rows(weight, axis, groups).astype(np.float64)
    into, out = _of(node.inputs, channels, factors), _of(node.outputs, channels, factors)
    if out is not None:
        rows = rows * out.reshape(*rows.shape[:2], 1)
        bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if bias is not None and node.inputs[2] is not None:
            scaled = (bias.reshape(-1) * out).reshape(bias.shape)
            set_constant(node.inputs[2], scaled.astype(bias.dtype))
    if into is not None:
        per_channel = into.reshape(groups, 1, -1)
        rows = rows / np.repeat(per_channel, rows.shape[2] // per_channel.shape[2], axis=2)
    set_constant(node.inputs[1], from_rows(rows, weight, axis).astype(weight.dtype))


def _of(values: Iterable[ir.Value | None], channels: Channels, factors: Array) -> Array | None:
    """Return the factors of the first value's channels, None without any."""
    value = next(iter(values))
    return None if value is None or value not in channels.of else factors[channels.roots(value)]


def _is_layer(node: ir.Node) -> bool:
    """Tell whether the node's weights are its own and can take factors along both of their channel axes."""
    if weight_axis(node) is None:
        return False
    own = all(value is None or _only_read_by(value, node) for value in node.inputs[1:3])
    result = node.outputs[0].shape
    return own and (node.op_type == "Conv" or (result is not None and len(result) == 2))


def _only_read_by(value: ir.Value, node: ir.Node) -> bool:
    return not value.is_graph_output() and all(use.node is node for use in value.uses())
