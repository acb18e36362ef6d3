"""How many channels each group keeps, so that the model costs as little as asked for and is harmed least.

What a weight costs is the product of the lengths of its axes, and each axis shrinks with the groups that lie
along it: what a channel saves depends on the widths of the groups around it. So widths are chosen in steps,
each time where the harm for what is saved is least.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.graph.edit import constant
from onnx_pare.graph.groups import Group, Groups
from onnx_pare.sparsity.elimination import Course

if TYPE_CHECKING:
    import onnx_ir as ir

# a step takes this share of a group's units, rounded down to its multiple
STEP = 1 / 16
# widths that vectors of CPUs like, where a group is eight times as wide
MULTIPLES = (16, 8, 4, 2)


def multiple_of(group: Group) -> int:
    """Return what the width of a group should be a multiple of: a power of two, an eighth of it at most."""
    return next((number for number in MULTIPLES if group.units >= 8 * number), 1)


@dataclass(frozen=True)
class _Tensor:
    """What a constant costs.

    Attributes:
        cost: Its cost at its full size.
        axes: For each axis its length, and how many positions along it a unit of each group takes.
    """

    cost: float
    axes: tuple[tuple[int, Mapping[int, float]], ...]

    def left(self, gone: Mapping[int, int]) -> float:
        """Return the cost when so many units of each group are gone."""
        shares = (
            1 - sum(gone[index] * each for index, each in own.items() if index in gone) / length
            for length, own in self.axes
        )
        return self.cost * prod(shares)


@dataclass
class Widths:
    """Costs of a model as its groups shrink.

    Attributes:
        groups: The groups that may.
        tensors: All that gets cheaper.
        fixed: The cost of everything else.
    """

    groups: Mapping[int, Group]
    tensors: list[_Tensor] = field(default_factory=list)
    fixed: float = 0.0

    @classmethod
    def of_macs(cls, groups: Groups, prunable: Mapping[int, Group], macs: Mapping[str, int]) -> Widths:
        """Return the multiply-accumulates, given those of each node by name."""
        found = cls(prunable)
        weighted = {layer.node.name or "": layer.weight for layer in groups.axes.layers}
        for name, count in macs.items():
            if name in weighted:
                found._add(groups, weighted[name], count)
            else:
                found.fixed += count
        return found

    @classmethod
    def of_params(cls, groups: Groups, prunable: Mapping[int, Group], params: int) -> Widths:
        """Return the parameters, given how many there are."""
        found = cls(prunable, fixed=params)
        for value in dict.fromkeys(value for value, _ in groups.axes.of):
            array = constant(value)
            if array is not None and array.dtype.kind == "f":
                found._add(groups, value, array.size)
                found.fixed -= array.size
        return found

    def cost(self, gone: Mapping[int, int]) -> float:
        """Return the cost when so many units of each group are gone."""
        return self.fixed + sum(tensor.left(gone) for tensor in self.tensors)

    def choose(
        self,
        courses: Mapping[int, Course],
        removable: Mapping[int, int],
        multiples: Mapping[int, int],
        budget: float,
    ) -> tuple[dict[int, int], float]:
        """Return how many units of each group go, and the cost that leaves: the budget, or as near as can be.

        Args:
            courses: In which order units go, by group; groups without one stay.
            removable: How many may go.
            multiples: What the number of those that stay is to be a multiple of.
            budget: The cost wanted.
        """
        gone = dict.fromkeys(courses, 0)
        near = {index: self._near(index) for index in courses}
        steps = {index: self._step(index, gone, removable, multiples) for index in courses}
        rates: dict[int, float] = {}
        cost = self.cost(gone)
        stale = set(courses)
        while cost > budget:
            for index in stale:
                rates[index] = self._rate(index, courses[index], gone, steps[index])
            index = min(rates, key=lambda each: rates[each], default=-1)
            if index < 0 or rates[index] == np.inf:
                break
            gone[index] += steps[index]
            steps[index] = self._step(index, gone, removable, multiples)
            cost = self.cost(gone)
            stale = near[index]
        return {index: count for index, count in gone.items() if count}, cost

    def _add(self, groups: Groups, value: ir.Value, cost: float) -> None:
        array = constant(value)
        assert array is not None
        axes = []
        for axis, length in enumerate(array.shape):
            ids = groups.axes.of.get((value, axis))
            own = {} if ids is None else _positions(groups, ids)
            each = {i: count / self.groups[i].units for i, count in own.items() if i in self.groups}
            axes.append((length, each))
        self.tensors.append(_Tensor(float(cost), tuple(axes)))

    def _touching(self, index: int) -> list[_Tensor]:
        return [tensor for tensor in self.tensors if any(index in own for _, own in tensor.axes)]

    def _near(self, index: int) -> set[int]:
        """Return the groups whose savings depend on the width of this one."""
        return {each for tensor in self._touching(index) for _, own in tensor.axes for each in own} | {index}

    def _step(
        self, index: int, gone: Mapping[int, int], removable: Mapping[int, int], multiples: Mapping[int, int]
    ) -> int:
        """Return how many units go next; 0 if no more may."""
        units, multiple = self.groups[index].units, multiples[index]
        left = units - gone[index]
        wanted = left - max(int(units * STEP), 1)
        next_left = max(wanted // multiple * multiple, 0)
        return left - next_left if units - next_left <= removable[index] else 0

    def _rate(self, index: int, course: Course, gone: Mapping[int, int], step: int) -> float:
        """Return the harm of the next step for what it saves."""
        if not step or gone[index] + step >= len(course.harms):
            return float(np.inf)
        after = {**gone, index: gone[index] + step}
        saved = sum(tensor.left(gone) - tensor.left(after) for tensor in self._touching(index))
        harm = course.harms[gone[index] + step] - course.harms[gone[index]]
        return harm / saved if saved > 0 else float(np.inf)


def _positions(groups: Groups, ids: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[int, int]:
    """Return how many positions of an axis belong to each group."""
    numbers, counts = np.unique(groups.group_of[ids], return_counts=True)
    return {int(index): int(count) for index, count in zip(numbers, counts, strict=True) if index >= 0}
