"""Taking units away, and telling what became of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_pare.graph.edit import constant
from onnx_pare.graph.surgery import remove_channels
from onnx_pare.sparsity.metadata import forget_input, forget_zeros, keep_zeros

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.groups import Groups

Cuts = Mapping[Any, Mapping[int, Any]]


@dataclass(frozen=True)
class Width:
    """Channels that a layer's weights have, those of one group where the layer has groups.

    Attributes:
        inputs: Channels read.
        outputs: Channels made.
    """

    inputs: int
    outputs: int


def widths_of(groups: Groups) -> dict[ir.Node, Width]:
    """Return the width of every layer, as it is now."""
    found = {}
    for layer in groups.axes.layers:
        array = constant(layer.weight)
        if array is not None:
            inputs = 1 if layer.in_axis is None else array.shape[layer.in_axis]
            found[layer.node] = Width(inputs, array.shape[layer.out_axis])
    return found


def narrowed(
    before: Mapping[ir.Node, Width], after: Mapping[ir.Node, Width], macs: Sequence[Mapping[str, int | None]]
) -> Iterator[dict[str, Any]]:
    """Yield a note for each layer that lost channels on either side.

    Args:
        before: Widths before.
        after: Widths after.
        macs: Multiply-accumulates of each node before and after, by name.
    """
    for node, width in before.items():
        now = after[node]
        if now != width:
            yield {
                "node": node.name,
                "op": node.op_type,
                "inputs_before": width.inputs,
                "inputs_after": now.inputs,
                "channels_before": width.outputs,
                "channels_after": now.outputs,
                "macs_before": macs[0].get(node.name or ""),
                "macs_after": macs[1].get(node.name or ""),
            }


def take_away(
    model: ir.Model, groups: Groups, units: Mapping[int, Sequence[int]], *, only_zeros: bool
) -> Cuts:
    """Remove units in place, and return what `remove_channels` does.

    Args:
        model: The model that `groups` was found in.
        groups: All groups.
        units: The units to remove.
        only_zeros: Whether these channels hold nothing but zeros: annotated zeros of the others remain true.
    """
    cuts = remove_channels(model, groups, units)
    if not only_zeros:
        forget_zeros(model)
        return cuts
    for node in model.graph:
        for axis, keep in cuts.get(node.outputs[0], {}).items():
            keep_zeros(node, axis, keep)
        for slot, value in enumerate(node.inputs):
            if value in cuts:
                forget_input(node, slot)
    return cuts
