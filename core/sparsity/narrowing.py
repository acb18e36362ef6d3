"""Which units go: so many of each group, or those of least harm until the model costs what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal

from onnx_pare.sparsity.widths import Widths, multiple_of

if TYPE_CHECKING:
    from onnx_pare.graph.groups import Group, Groups
    from onnx_pare.sparsity.elimination import Course

Units = Mapping[int, Sequence[int]]
# times that a model is measured to find the widths for a latency
ATTEMPTS = 6


@dataclass(frozen=True)
class Limits:
    """How narrow groups may become.

    Attributes:
        min_channels: Units that every group keeps at least.
        floor: The fraction that every group keeps at least.
        round_to: What is left is a multiple of this; None: of what `multiple_of` says.
        block: Or of this, where a group is twice as wide, and `multiple_of` says less: what vectors hold.
    """

    min_channels: int = 1
    floor: float = 0.0
    round_to: int | None = None
    block: int = 1

    def removable(self, group: Group) -> int:
        """Return how many units a group may lose at most."""
        return max(group.units - max(self.min_channels, ceil(self.floor * group.units - 1e-9)), 0)

    def multiple(self, group: Group) -> int:
        """Return what a group's width is to be a multiple of."""
        if self.round_to is not None:
            return self.round_to
        return max(multiple_of(group), self.block if group.units >= 2 * self.block else 1)

    def rounded(self, group: Group, count: int) -> int:
        """Return how many of `count` units go, so that those left are a multiple."""
        return max(count - -(group.units - count) % self.multiple(group), 0)


@dataclass(frozen=True)
class Narrowing:
    """A choice of units.

    Attributes:
        groups: All groups of the model.
        courses: In which order units go, for the groups that may lose any.
        limits: How narrow these may become.
    """

    groups: Groups
    courses: Mapping[int, Course]
    limits: Limits

    def by_share(self, ratio: float, scope: Literal["layer", "global"]) -> Units:
        """Return this share of the units of each group, or of all groups those of least harm."""
        wide = self._wide()
        removable = {index: self.limits.removable(group) for index, group in wide.items()}
        if scope == "layer":
            counts = {i: min(int(ratio * group.units + 1e-9), removable[i]) for i, group in wide.items()}
        else:
            counts = self._least(int(ratio * sum(group.units for group in wide.values()) + 1e-9), removable)
        return self._units({i: self.limits.rounded(wide[i], count) for i, count in counts.items()})

    def to_macs(self, ratio: float, macs: Mapping[str, int]) -> tuple[Units, float]:
        """Return units whose loss harms least for what it saves, and the ratio reached, after / before.

        Args:
            ratio: The ratio of multiply-accumulates wanted; it may not be reached.
            macs: Those of each node, by name.
        """
        return self._narrow(Widths.of_macs(self.groups, self._wide(), macs), ratio)

    def to_params(self, ratio: float, params: int) -> tuple[Units, float]:
        """Return such units for a ratio of parameters, given how many there are."""
        return self._narrow(Widths.of_params(self.groups, self._wide(), params), ratio)

    def to_latency(
        self, ratio: float, macs: Mapping[str, int], measure: Callable[[Units], float]
    ) -> tuple[Units, float]:
        """Return units without which the model is measured to be so fast, and the ratio of latencies.

        The ratio of multiply-accumulates is searched for by halving. Where the latency is never reached, the
        fastest that was tried is returned.

        Args:
            ratio: The ratio wanted.
            macs: Multiply-accumulates of each node, by name.
            measure: Returns the latency without these units, after / before.
        """
        widths = Widths.of_macs(self.groups, self._wide(), macs)
        low, high, asked = 0.0, 1.0, ratio
        best: tuple[Units, float] = {}, 1.0
        for _ in range(ATTEMPTS):
            units, reached = self._narrow(widths, asked)
            latency = measure(units) if units else 1.0
            if latency <= ratio:
                best, low = (units, latency), max(reached, asked)
            else:
                best, high = min(best, (units, latency), key=lambda each: each[1]), asked
            if latency > ratio and reached > asked:
                break
            asked = (low + high) / 2
        return best

    def _wide(self) -> dict[int, Group]:
        return {index: self.groups[index] for index in self.courses}

    def _narrow(self, widths: Widths, ratio: float) -> tuple[Units, float]:
        total = widths.cost({})
        removable = {index: self.limits.removable(group) for index, group in self._wide().items()}
        multiples = {index: self.limits.multiple(group) for index, group in self._wide().items()}
        gone, cost = widths.choose(self.courses, removable, multiples, ratio * total)
        return self._units(gone), cost / max(total, 1)

    def _least(self, wanted: int, removable: Mapping[int, int]) -> dict[int, int]:
        """Return how many units of each group are among those of least harm."""
        steps = sorted(
            (course.harms[number + 1] - course.harms[number], index, number)
            for index, course in self.courses.items()
            for number in range(min(removable[index], len(course.order)))
        )
        counts = dict.fromkeys(self.courses, 0)
        for _, index, _ in steps[:wanted]:
            counts[index] += 1
        return counts

    def _units(self, counts: Mapping[int, int]) -> Units:
        return {index: self.courses[index].order[:count] for index, count in counts.items() if count}
