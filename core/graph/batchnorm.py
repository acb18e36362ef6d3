"""Folding a BatchNormalization into the layer before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from onnx_pare.graph.edit import Names, add_initializer, constant

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]


def fold_batch_norms(model: ir.Model) -> int:
    """Fold each BatchNormalization that directly follows a Conv, ConvTranspose or Gemm; return how many.

    With gain g = scale / sqrt(variance + epsilon), per output channel:

        weight' = g · weight        bias' = g · (bias − mean) + shift

    computed in float64. Left alone: a layer whose output is also used elsewhere, parameters that are not
    constant, training mode, and a Gemm whose bias differs between rows.
    """
    names = Names(model)
    folded = 0
    for graph in model.graphs():
        for norm in list(graph):
            layer = norm.inputs[0].producer() if norm.inputs and norm.inputs[0] is not None else None
            if norm.op_type == "BatchNormalization" and layer is not None and _foldable(norm, layer):
                folded += _fold(graph, norm, layer, names)
    return folded


def _foldable(norm: ir.Node, layer: ir.Node) -> bool:
    out = layer.outputs[0]
    return (
        layer.op_type in _SCALE
        and layer.domain == norm.domain == ""
        and layer.graph is norm.graph
        and len(out.uses()) == 1
        and not out.is_graph_output()
        and not norm.attributes.get_int("training_mode", 0)
        and norm.attributes.get_int("spatial", 1) == 1
        and not any(extra.uses() or extra.is_graph_output() for extra in norm.outputs[1:])
    )


def _fold(graph: ir.Graph, norm: ir.Node, layer: ir.Node, names: Names) -> int:
    import numpy as np

    weight = constant(layer.inputs[1])
    given = [constant(value) for value in norm.inputs[1:5]]
    parameters = [array.astype(np.float64) for array in given if array is not None]
    bias = _bias(layer, len(parameters[0])) if len(parameters) == 4 else None
    if weight is None or bias is None:
        return 0
    scale, shift, mean, variance = parameters
    gain = scale / np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
    new_weight = _SCALE[layer.op_type](layer, weight.astype(np.float64), gain).astype(weight.dtype)
    new_bias = (gain * (bias - mean) + shift).astype(weight.dtype)
    base = norm.outputs[0].name or "folded"
    layer.resize_inputs(3)
    layer.replace_input_with(1, add_initializer(graph, names.new(f"{base}_weight"), new_weight))
    layer.replace_input_with(2, add_initializer(graph, names.new(f"{base}_bias"), new_bias))
    layer.attributes.pop("beta", None)
    _take_output(graph, norm, layer)
    return 1


def _take_output(graph: ir.Graph, norm: ir.Node, layer: ir.Node) -> None:
    """Let `layer` make the output of `norm`, under its name, and remove `norm`."""
    import onnx_ir as ir

    old, new = norm.outputs[0], layer.outputs[0]
    name, new.shape, new.type = old.name, old.shape or new.shape, old.type or new.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(norm, safe=True)
    new.name = name


def _bias(layer: ir.Node, channels: int) -> Array | None:
    """Return the layer's bias as float64 of shape (channels,), zeros if it has none; None if it varies."""
    import numpy as np

    value = layer.inputs[2] if len(layer.inputs) > 2 else None
    if value is None:
        return np.zeros(channels)
    array = constant(value)
    if (
        array is None
        or (array.size != 1 and array.shape[-1:] != (array.size,))
        or array.size not in (1, channels)
    ):
        return None
    beta = layer.attributes.get_float("beta", 1.0) if layer.op_type == "Gemm" else 1.0
    return np.broadcast_to(beta * array.astype(np.float64).reshape(-1), (channels,))


def _scale_conv(layer: ir.Node, weight: Array, gain: Array) -> Array:
    """`weight` is (C_out, C_in / groups, *kernel)."""
    return weight * gain.reshape(-1, *[1] * (weight.ndim - 1))


def _scale_conv_transpose(layer: ir.Node, weight: Array, gain: Array) -> Array:
    """`weight` is (C_in, C_out / groups, *kernel); gain is by group, then by output of the group."""
    groups = layer.attributes.get_int("group", 1)
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    scaled = grouped * gain.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    result: Array = scaled.reshape(weight.shape)
    return result


def _scale_gemm(layer: ir.Node, weight: Array, gain: Array) -> Array:
    """`weight` is (K, N), or (N, K) if transB."""
    return weight * (gain[:, None] if layer.attributes.get_int("transB", 0) else gain)


_SCALE: dict[str, Callable[[ir.Node, Array, Array], Array]] = {
    "Conv": _scale_conv,
    "ConvTranspose": _scale_conv_transpose,
    "Gemm": _scale_gemm,
}
