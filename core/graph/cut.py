"""What is left of every axis, and giving nodes other integers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import Names, add_initializer, constant
from onnx_pare.graph.groups import Groups

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.ties import Ids

# integers that say what to do are fewer than this
SMALL = 64


@dataclass
class Cut:
    """What is left of every axis that loses positions.

    Attributes:
        groups: The groups of the model before.
        gone: Whether a number goes.
        graph: The graph that is edited.
        names: Free names in it.
        stale: Constants that a node has been given others in place of.
    """

    groups: Groups
    gone: Ids
    graph: ir.Graph
    names: Names
    stale: list[ir.Value] = field(default_factory=list)
    _shared: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = field(default_factory=dict)

    def keeps(self, value: ir.Value, axis: int) -> Ids | None:
        """Return which positions along an axis stay; None if all do."""
        ids = self.groups.axes.of.get((value, axis))
        if ids is None:
            return None
        keep = ~self.gone[ids]
        return None if keep.all() else keep

    def length(self, value: ir.Value, axis: int) -> int:
        """Return what is left of an axis."""
        keep = self.keeps(value, axis)
        return self.groups.axes.known(value)[axis] if keep is None else int(keep.sum())

    def cut_axes(self, value: ir.Value) -> dict[int, Ids]:
        """Return the axes of a value that lose positions, each with those that stay."""
        found = {axis: self.keeps(value, axis) for axis in range(len(self.groups.axes.shape(value) or ()))}
        return {axis: keep for axis, keep in found.items() if keep is not None}

    def give(self, node: ir.Node, attribute: str, place: int, content: list[int]) -> None:
        """Give a node integers in place of others: as an attribute, or as a constant of its own."""
        import onnx_ir as ir

        if attribute in node.attributes:
            node.attributes[attribute] = ir.AttrInt64s(attribute, content)
            return
        old = node.inputs[place] if len(node.inputs) > place else None
        kept = self.groups.axes.content(old)
        array = np.asarray(content, np.int64 if kept is None else kept.dtype)
        if kept is not None and np.array_equal(kept, array):
            return
        if place >= len(node.inputs):
            node.resize_inputs(place + 1)
        node.replace_input_with(place, self._constant(array, f"{node.outputs[0].name}_{attribute}"))
        if old is not None:
            self.stale.append(old)

    def _constant(self, array: np.ndarray[Any, Any], name: str) -> ir.Value:
        """Return an initializer that holds these integers; equal ones are shared, with those there too."""
        if not self._shared:
            for value in self.graph.initializers.values():
                held = constant(value)
                if held is not None and held.dtype.kind == "i" and held.size < SMALL:
                    self._shared.setdefault(_key(held), value)
        key = _key(array)
        if key not in self._shared:
            self._shared[key] = add_initializer(self.graph, self.names.new(name), array)
        return self._shared[key]


def _key(array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], bytes]:
    return str(array.dtype), array.shape, array.tobytes()
