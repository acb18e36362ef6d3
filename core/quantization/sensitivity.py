"""Which parts of a model suffer most from int8, and the fewest of them to leave float for a limit to hold.

Each region is quantized alone, everything else float, and its damage is the noise it puts into the outputs,
as a share of their power: 10 ^ (−SQNR / 10). Noises of different regions are nearly independent and add up, so
regions are left float from the most damaging on. How many are needed is found by halving, on models built and
compared, not on the sum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_pare.quantization.draft import Draft, Manner, Names
from onnx_pare.quantization.judge import Judge

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.bench.fidelity import Fidelity

# more regions than this are joined with their neighbours
REGIONS = 64


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
        return {"nodes": list(self.nodes), "sqnr_db": self.sqnr_db}


@dataclass(frozen=True)
class Outcome:
    """What was found.

    Attributes:
        float_nodes: Names of the nodes to leave float.
        found: How close the model is with them left float.
        met: Whether that keeps the limit.
        ranking: The regions looked at, most damaging first.
        complete: Whether all were looked at in the time there was.
    """

    float_nodes: Names
    found: Fidelity
    met: bool
    ranking: tuple[Region, ...]
    complete: bool

    def notes(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {
            "sensitivity": [region.to_json() for region in self.ranking],
            "left_float_for_accuracy": sorted(self.float_nodes),
            "limit_met": self.met,
        }


def protect(
    draft: Draft,
    judge: Judge,
    manner: Manner,
    limit: Limit,
    float_nodes: Names = frozenset(),
    *,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Return the fewest further nodes to leave float so that the limit holds.

    Where time runs out while regions are ranked, those not looked at count as harmless.

    Args:
        draft: The calibrated model.
        judge: Compares candidates.
        manner: How to quantize.
        limit: What must hold.
        float_nodes: Nodes that stay float in any case.
        budget_s: Time at most, roughly.
        clock: Seconds from any start.
    """
    whole = judge(draft.build(manner, float_nodes))
    if limit.met(whole):
        return Outcome(frozenset(), whole, True, (), True)
    deadline = clock() + budget_s
    groups = _groups(draft, float_nodes)
    everything = frozenset(name for group in groups for name in group)
    ranking: list[Region] = []
    for group in groups:
        if ranking and clock() >= deadline:
            break
        alone = draft.build(manner, float_nodes | (everything - set(group)))
        ranking.append(Region(tuple(group), judge.sqnr_db(alone)))
    ranking.sort(key=lambda region: region.sqnr_db)
    chosen, found, met = _fewest(draft, judge, manner, limit, float_nodes, ranking)
    return Outcome(chosen, found or whole, met, tuple(ranking), len(ranking) == len(groups))


def _fewest(
    draft: Draft, judge: Judge, manner: Manner, limit: Limit, float_nodes: Names, ranking: Sequence[Region]
) -> tuple[Names, Fidelity | None, bool]:
    """Find by halving how many of the ranking must stay float."""
    best: tuple[Names, Fidelity | None, bool] = (frozenset(), None, False)
    low, high = 1, len(ranking)
    while low <= high:
        count = (low + high) // 2
        chosen = frozenset(name for region in ranking[:count] for name in region.nodes)
        found = judge(draft.build(manner, float_nodes | chosen))
        met = limit.met(found)
        if met or not best[2]:
            best = chosen, found, met
        low, high = (low, count - 1) if met else (count + 1, high)
    return best


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
    return [sum(groups[start : start + size], []) for start in range(0, len(groups), size)]
