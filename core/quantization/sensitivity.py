"""Which parts of a model suffer most from int8, and the fewest of them to leave float for a limit to hold.

Each region is quantized alone, everything else float, and its damage is the noise it puts into the outputs,
as a share of their power: 10 ^ (−SQNR / 10). Noises of different regions are nearly independent and add up,
so regions are left float from the most damaging on. How many are needed is found on models that are built and
compared, not on the sum.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from onnx_pare.bench.judge import Judge
from onnx_pare.bench.tally import json_db
from onnx_pare.quantization.draft import Draft, Manner, Names

if TYPE_CHECKING:
    from onnx_pare.bench.fidelity import Fidelity

# more regions than this are joined with their neighbours
REGIONS = 48
# samples a ranking is made on: the order, not the figure, is what counts
RANKED_ON = 8
# how many regions are left float in what is timed
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
# the share of the speed-up that accuracy may not cost more than, and how much faster than float is faster
KEPT, WORTH = 0.9, 1.02
# accuracy is worth leaving more regions float if it gains so much
CLEARLY_DB = 0.5
# with an error of a third of the signal, outputs are not worth the speed that they cost
USELESS_DB = 10.0


@dataclass(frozen=True)
class Limit:
    """What an int8 model must keep; None does not matter.

    Attributes:
        min_sqnr_db: SQNR of the outputs at least.
        max_top1_drop: Share of the samples whose top-1 class may change at most.
    """

    min_sqnr_db: float | None = None
    max_top1_drop: float | None = None

    def met(self, found: Fidelity) -> bool:
        """Tell whether a candidate keeps it."""
        if self.min_sqnr_db is not None and found.sqnr_db is not None and found.sqnr_db < self.min_sqnr_db:
            return False
        changed = None if found.top1_agreement is None else 1.0 - found.top1_agreement
        return self.max_top1_drop is None or changed is None or changed <= self.max_top1_drop + 1e-9


@dataclass(frozen=True)
class Region:
    """Nodes that are quantized or left float together, and what quantizing them alone does to the outputs."""

    nodes: tuple[str, ...]
    sqnr_db: float

    def to_json(self) -> dict[str, Any]:
        """Return what the report says of it."""
        return {"nodes": list(self.nodes), "sqnr_db": json_db(self.sqnr_db)}


@dataclass(frozen=True)
class Protected:
    """What was found.

    Attributes:
        float_nodes: Names of the nodes to leave float; None where int8 is nowhere faster than float.
        met: Whether the limit holds then.
        ranking: The regions looked at, most damaging first.
        complete: Whether all were looked at in the time there was.
    """

    float_nodes: Names | None
    met: bool
    ranking: tuple[Region, ...] = ()
    complete: bool = True

    def notes(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {
            "sensitivity": [region.to_json() for region in self.ranking],
            "left_float_for_accuracy": sorted(self.float_nodes or ()),
            "limit_met": self.met,
        }


@dataclass
class Protection:
    """Looks for the nodes to leave float.

    Attributes:
        draft: The calibrated model.
        judge: Compares candidates.
        manner: How to quantize.
        limit: What must hold.
        float_nodes: Nodes that stay float in any case.
        speedups: Returns how much faster than float the model is with each of these sets left float; None
            where speed does not matter.
        budget_s: Time at most, roughly, for ranking.
        clock: Seconds from any start.
    """

    draft: Draft
    judge: Judge
    manner: Manner
    limit: Limit
    float_nodes: Names
    speedups: Callable[[Sequence[Names]], Sequence[float]] | None
    budget_s: float
    clock: Callable[[], float] = time.monotonic

    def fewest(self) -> Protected:
        """Return the fewest nodes with which the limit holds, or those with which it fails least.

        None if the model is not faster than float with them.
        """
        if self.limit.met(self._judge(frozenset())):
            return Protected(frozenset(), True)
        ranking, complete = self._rank()
        best: Names = frozenset()
        met, low, high = False, 1, len(ranking)
        while low <= high:
            count = (low + high) // 2
            nodes = _worst(ranking, count)
            enough = self.limit.met(self._judge(nodes))
            if enough or not met:
                best, met = nodes, enough
            low, high = (low, count - 1) if enough else (count + 1, high)
        slow = self.speedups is not None and self.speedups([best])[0] < WORTH
        return Protected(None if slow else best, met, ranking, complete)

    def affordable(self) -> Protected:
        """Return nodes with which the limit holds, or else the outputs are best, at little cost in speed.

        Sets of growing size are timed together; those stay that leave `KEPT` of the best speed-up.
        """
        if self.limit.met(self._judge(frozenset())):
            return Protected(frozenset(), True)
        ranking, complete = self._rank()
        steps: list[tuple[Names, Fidelity]] = []
        for count in (n for n in STEPS if n <= len(ranking)):
            nodes = _worst(ranking, count)
            steps.append((nodes, self._judge(nodes)))
            if self.limit.met(steps[-1][1]):
                break
        found = [(frozenset[str](), self._judge(frozenset())), *steps]
        if self.speedups is not None:
            speeds = self.speedups([nodes for nodes, _ in found])
            needed = max(KEPT * max(speeds), WORTH)
            found = [one for one, speed in zip(found, speeds, strict=True) if speed >= needed] or found[:1]
        chosen, fidelity = found[0]
        for nodes, other in found[1:]:
            if _db(other) > _db(fidelity) + CLEARLY_DB:
                chosen, fidelity = nodes, other
        if _db(fidelity) < USELESS_DB:
            chosen, fidelity = found[0]
        return Protected(chosen, self.limit.met(fidelity), ranking, complete)

    def _rank(self) -> tuple[tuple[Region, ...], bool]:
        """Quantize each region alone; where time runs out, those not looked at count as harmless."""
        deadline = self.clock() + self.budget_s
        groups = _groups(self.draft, self.float_nodes)
        everything = frozenset(name for group in groups for name in group)
        ranking: list[Region] = []
        ranker = self.judge.on_first(RANKED_ON)
        for group in groups:
            if ranking and self.clock() >= deadline:
                break
            alone = self.draft.build(self.manner, self.float_nodes | (everything - set(group)))
            ranking.append(Region(tuple(group), _db(ranker(alone))))
        ranking.sort(key=lambda region: region.sqnr_db)
        return tuple(ranking), len(ranking) == len(groups)

    def _judge(self, nodes: Names) -> Fidelity:
        return self.judge(self.draft.build(self.manner, self.float_nodes | nodes))


def _worst(ranking: Sequence[Region], count: int) -> Names:
    return frozenset(name for region in ranking[:count] for name in region.nodes)


def _db(found: Fidelity) -> float:
    """Return the SQNR, infinite for a model without float outputs."""
    return math.inf if found.sqnr_db is None else found.sqnr_db


def _groups(draft: Draft, float_nodes: Names) -> list[list[str]]:
    """Return the names of the nodes that run in integers, each layer with what follows it up to the next."""
    placement = draft.place(draft.model, float_nodes)
    groups: list[list[str]] = []
    for node in draft.model.graph:
        if not placement.runs_in_integers(node):
            continue
        if node in placement.axes or not groups:
            groups.append([])
        groups[-1].append(node.name or "")
    size = -(-len(groups) // REGIONS) or 1
    return [list(chain(*groups[start : start + size])) for start in range(0, len(groups), size)]
