"""Which positions along which axes of which tensors can only go together.

Every axis that may lose positions holds a number for each of them, and numbers are tied where removing one
position leaves no choice about the other. An axis without numbers keeps its length. Constants are tensors
like all others: the numbers along the axes of a weight say which of its slices go with which channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import constant
from onnx_pare.graph.ties import Ids, Ties

if TYPE_CHECKING:
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]
    Place = tuple[ir.Value, int]
    Shape = tuple[int, ...]

UNTRACKED = "joins them with channels that cannot be removed"


class NotUnderstoodError(Exception):
    """A rule cannot follow the channels through its node; the message says why."""


@dataclass(frozen=True)
class Stop:
    """Why channels stay: the node that keeps them."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True)
class Layer:
    """A node with constant weights.

    Attributes:
        node: A convolution or matrix product.
        weight: Its weights.
        out_axis: The axis of the weights that counts output channels.
        in_axis: The axis that counts input channels; None where each channel is computed from itself alone
            (depthwise).
    """

    node: ir.Node
    weight: ir.Value
    out_axis: int
    in_axis: int | None


@dataclass(frozen=True)
class Dim:
    """An element of a shape that was computed: the length of an axis."""

    value: ir.Value
    axis: int


@dataclass
class Axes:
    """The numbers along all axes of a graph, as far as they were followed.

    Attributes:
        shape: The shape of a value; None if it is not known.
        content: What a value always holds, also where nodes compute it from constants alone.
        opset: The version of ONNX's own operators.
        of: The numbers along an axis of a value.
        ties: Which of them go together.
        fixed: Numbers that must stay, each time with the reason.
        uncut: Numbers that may be scaled, but not removed.
        layers: What has constant weights, in order.
        contractions: Numbers that two computed operands are summed over (attention).
        dims: What the elements of a computed shape are: numbers, lengths of axes, or not known.
        blame: Why a value has no numbers at all.
        reason: Why the node that is visited gives none, if it does not.
    """

    shape: Callable[[ir.Value], Shape | None]
    content: Callable[[ir.Value | None], Array | None]
    opset: int
    of: dict[Place, Ids] = field(default_factory=dict)
    ties: Ties = field(default_factory=Ties)
    fixed: list[tuple[Ids, Stop]] = field(default_factory=list)
    uncut: list[tuple[Ids, Stop]] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    contractions: list[Ids] = field(default_factory=list)
    dims: dict[ir.Value, list[int | Dim | None]] = field(default_factory=dict)
    blame: dict[ir.Value, Stop] = field(default_factory=dict)
    reason: Stop | None = None
    _frozen: dict[Place, Stop] = field(default_factory=dict)
    _node: ir.Node | None = None

    def visit(self, node: ir.Node) -> None:
        """Let `stop` speak of this node."""
        self._node, self.reason = node, None

    def stop(self, reason: str) -> Stop:
        """Return a reason given by the node that is visited."""
        node = self._node
        return Stop("", "", reason) if node is None else Stop(node.name or "", node.op_type, reason)

    def known(self, value: ir.Value) -> Shape:
        """Return a value's shape.

        Raises:
            NotUnderstoodError: It is not known.
        """
        shape = self.shape(value)
        if shape is None:
            raise NotUnderstoodError(f"the shape of '{value.name}' is not known")
        return shape

    def tracks(self, value: ir.Value) -> bool:
        """Return whether any axis of a value has numbers."""
        return any((value, axis) in self.of for axis in range(len(self.shape(value) or ())))

    def get(self, value: ir.Value, axis: int) -> Ids | None:
        """Return the numbers along an axis; a constant gets new ones when first asked. Length 1 has none."""
        found = self.of.get((value, axis))
        if found is None and constant(value) is not None and self.known(value)[axis] > 1:
            found = self.of[value, axis] = self.ties.new(self.known(value)[axis])
        return found

    def put(self, value: ir.Value, axis: int, ids: Ids | None) -> None:
        """Give an axis its numbers. One that is all there is stays: an axis of length 1 has none.

        Raises:
            NotUnderstoodError: It has another length.
        """
        if ids is None:
            return
        if len(ids) == 1:
            self.fix(ids, "leaves no other channel")
            return
        if self.known(value)[axis] != len(ids):
            raise NotUnderstoodError(f"the shape of '{value.name}' is not as expected")
        self.of[value, axis] = ids

    def fix(self, ids: Ids | None, reason: str | Stop) -> None:
        """Let these numbers stay."""
        if ids is not None:
            self.fixed.append((ids, self.stop(reason) if isinstance(reason, str) else reason))

    def freeze(self, value: ir.Value | None, reason: str | Stop, axis: int | None = None) -> None:
        """Let an axis of a value stay as it is, or all; those of constants also if they get numbers later."""
        if value is None:
            return
        stop = self.stop(reason) if isinstance(reason, str) else reason
        for place in range(len(self.shape(value) or ())) if axis is None else (axis,):
            if constant(value) is not None:
                self._frozen.setdefault((value, place), stop)
            else:
                self.fix(self.of.get((value, place)), stop)

    def join(self, places: Sequence[Place]) -> Ids | None:
        """Tie axes of equal length that run side by side, and return the numbers of one of them.

        If one of them has no numbers, all stay, and None is returned.

        Raises:
            NotUnderstoodError: Their lengths differ.
        """
        lengths = {self.known(value)[axis] for value, axis in places}
        if len(lengths) > 1:
            raise NotUnderstoodError("the lengths of its inputs differ")
        if not places or lengths == {1}:
            return None
        untracked = [p for p in places if p not in self.of and constant(p[0]) is None]
        if untracked:
            stop = self.blame.get(untracked[0][0]) or self.stop(UNTRACKED)
            for value, axis in places:
                self.freeze(value, stop, axis)
            self.reason = stop
            return None
        ids = [found for value, axis in places if (found := self.get(value, axis)) is not None]
        for other in ids[1:]:
            self.ties.tie(ids[0], other)
        return ids[0]

    def kept_by(self) -> dict[int, Stop]:
        """Return the roots that must stay, each with the first reason for it."""
        roots = self.ties.roots()
        late = [(self.of[place], stop) for place, stop in self._frozen.items() if place in self.of]
        found: dict[int, Stop] = {}
        for ids, stop in (*self.fixed, *self.uncut, *late):
            for root in np.unique(roots[ids]).tolist():
                found.setdefault(root, stop)
        return found
