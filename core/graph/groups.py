"""Channel groups: which channels of which tensors a network can lose, and what goes with them.

A *unit* is a set of positions that can only go together: for one, channel 5 of every tensor along a residual
stream, with the filters that make it, its normalization parameters, and the columns that read it. A *group*
holds the units that lie along the same axes of the same tensors, so that keeping one unit of each group keeps
every tensor. What `axes` and its rules cannot follow stays, and is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.graph.axes import Axes, Layer, Stop
from onnx_pare.graph.axis_rules import follow
from onnx_pare.graph.computed import MAKES, MOVES, Contents
from onnx_pare.graph.edit import constant, static_shape

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes
    from onnx_pare.graph.ties import Ids

# what an axis of a constant is to the channels: those a layer makes, those it reads, anything else
ROLES = ("out", "in", "other")


@dataclass(frozen=True)
class Slices:
    """Where the units of a group lie along an axis of a constant.

    Attributes:
        node: The layer whose weights these are; else the first reader of the constant.
        value: The constant.
        axis: The axis.
        unit_of: The unit at each position of the axis; -1 where it is none of this group.
    """

    node: ir.Node
    value: ir.Value
    axis: int
    unit_of: Ids


@dataclass(frozen=True)
class Group:
    """Units that lie along the same axes.

    Attributes:
        index: Its number among all groups.
        units: How many there are.
        producers: The layers whose outputs these channels are, each with the axis of its weights.
        consumers: The layers that read them.
        others: All else that is sliced: biases, normalization parameters, depthwise weights, constants.
        contracted: Whether two computed tensors are summed over them, as queries and keys are.
    """

    index: int
    units: int
    producers: tuple[Slices, ...]
    consumers: tuple[Slices, ...]
    others: tuple[Slices, ...]
    contracted: bool

    @property
    def name(self) -> str:
        """The name of the first layer that makes these channels."""
        return self.producers[0].node.name or ""


@dataclass(frozen=True)
class Left:
    """Layers whose output channels stay, and the node that keeps them."""

    layers: tuple[str, ...]
    stop: Stop


class Groups(Mapping[int, Group]):
    """The groups of a model, by number, as it was when they were found.

    Attributes:
        axes: The numbers along all axes.
        roots: The root of every number.
        group_of: The group of every number; -1 if it stays.
        unit_of: Its unit within the group.
        left: What stays, most layers first.
    """

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.roots = axes.ties.roots()
        stops = axes.kept_by()
        self.group_of, self.unit_of = _partition(axes, self.roots, stops)
        self._groups = {group.index: group for group in self._made()}
        self.left = tuple(_left(axes, self.roots, stops))

    def __getitem__(self, index: int) -> Group:
        return self._groups[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def units_at(self, group: Group, value: ir.Value, axis: int) -> Ids | None:
        """Return the unit of a group at each position along an axis of any tensor, -1 for none.

        None if no unit of the group lies there.
        """
        ids = self.axes.of.get((value, axis))
        if ids is None:
            return None
        found = np.where(self.group_of[ids] == group.index, self.unit_of[ids], -1)
        return found if (found >= 0).any() else None

    @cached_property
    def _layers(self) -> dict[tuple[ir.Value, int], list[Layer]]:
        """Layers by the axes of their weights."""
        found: dict[tuple[ir.Value, int], list[Layer]] = {}
        for layer in self.axes.layers:
            for axis in (layer.out_axis, layer.in_axis):
                if axis is not None:
                    found.setdefault((layer.weight, axis), []).append(layer)
        return found

    def _made(self) -> Iterator[Group]:
        """Yield the groups that a layer makes and something reads."""
        parts: dict[int, list[tuple[str, Slices]]] = {}
        for (value, axis), ids in self.axes.of.items():
            if constant(value) is not None:
                for index in np.unique(self.group_of[ids]).tolist():
                    if index >= 0:
                        parts.setdefault(index, []).extend(self._slices(index, value, axis, ids))
        contracted = {i for ids in self.axes.contractions for i in np.unique(self.group_of[ids]).tolist()}
        for index, found in sorted(parts.items()):
            out, into, other = (tuple(part for role, part in found if role == own) for own in ROLES)
            if out:
                units = int(self.unit_of[self.group_of == index].max()) + 1
                yield Group(index, units, out, into, other, index in contracted)

    def _slices(self, index: int, value: ir.Value, axis: int, ids: Ids) -> Iterator[tuple[str, Slices]]:
        unit_of = np.where(self.group_of[ids] == index, self.unit_of[ids], -1)
        layers = self._layers.get((value, axis), [])
        for layer in layers:
            role = "in" if axis == layer.in_axis else "out" if layer.in_axis is not None else "other"
            yield role, Slices(layer.node, value, axis, unit_of)
        if not layers:
            yield "other", Slices(next(iter(value.uses())).node, value, axis, unit_of)


def find_groups(model: ir.Model, shapes: Shapes | None = None) -> Groups:
    """Find the channel groups of a model's main graph.

    Args:
        model: It is not changed.
        shapes: Those of all tensors, as `shapes.infer` gives them; by default they are inferred.

    Raises:
        ModelError: Free dimensions remain, or onnxruntime cannot load or run the model.
    """
    from onnx_pare.graph.shapes import infer, input_shapes

    known = infer(model, input_shapes(model)) if shapes is None else shapes

    def shape(value: ir.Value) -> tuple[int, ...] | None:
        info = known.get(value.name or "")
        array = constant(value)
        return info.shape if info is not None else static_shape(value) if array is None else array.shape

    axes = Axes(shape, Contents(model, MOVES | MAKES).of, model.graph.opset_imports.get("", 1))
    follow(model.graph, axes)
    return Groups(axes)


def _partition(axes: Axes, roots: Ids, stops: Mapping[int, Stop]) -> tuple[Ids, Ids]:
    """Return the group of every number, and its unit there: roots along the same set of axes are a group.

    The set of axes is told by a sum of one random number for each: sets that differ have another sum, but for
    one case in about 2^64.
    """
    rng = np.random.default_rng(0)
    marks = np.zeros(len(roots), np.uint64)
    for ids in {id(ids): ids for ids in axes.of.values()}.values():
        marks[np.unique(roots[ids])] += rng.integers(1, 2**63, dtype=np.uint64)
    free = np.unique(roots[marks[roots] > 0])
    free = free[~np.isin(free, np.fromiter(stops, np.int64, len(stops)))]
    group_of, unit_of = np.full(len(roots), -1), np.full(len(roots), -1)
    _, first, inverse = np.unique(marks[free], return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first, kind="stable"), kind="stable")
    group_of[free] = order[inverse]
    for index in range(len(first)):
        members = free[group_of[free] == index]
        unit_of[members] = np.arange(len(members))
    return group_of[roots], unit_of[roots]


def _left(axes: Axes, roots: Ids, stops: Mapping[int, Stop]) -> Iterator[Left]:
    layers: dict[Stop, list[str]] = {}
    for layer in axes.layers:
        ids = axes.of.get((layer.weight, layer.out_axis))
        if ids is None:
            continue
        reasons = {stops[root]: None for root in np.unique(roots[ids]).tolist() if root in stops}
        for stop in reasons:
            layers.setdefault(stop, []).append(layer.node.name or "")
    for stop, names in sorted(layers.items(), key=lambda item: -len(item[1])):
        yield Left(tuple(dict.fromkeys(names)), stop)
