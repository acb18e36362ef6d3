"""Placements worth trying: each leaves something float, under a name and with a reason.

They are fixed by the graph and the cost table: no timing of a single node has a part in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_pare.graph.shapes import Shapes
from onnx_pare.quantization.division import divide
from onnx_pare.quantization.kernel_costs import KernelCosts
from onnx_pare.quantization.placement import Placement, place
from onnx_pare.quantization.regions import Region, regions

if TYPE_CHECKING:
    import onnx_ir as ir

Names = frozenset[str]

EVERYTHING = "all int8"
# divisions of the graph by predicted times, and what conversions are taken to cost in them, as a factor
DIVISIONS = {"cheapest division": 1.0, "cheapest division, dear borders": 2.0}


@dataclass(frozen=True)
class Candidate:
    """A placement to try: what it leaves float, under which name and why."""

    name: str
    why: str
    float_nodes: Names


def list_candidates(
    model: ir.Model, shapes: Shapes, costs: KernelCosts, fixed: Names = frozenset()
) -> list[Candidate]:
    """Return the placements to try, in order of preference; none if nothing can be quantized."""
    everything = placement_without(model, fixed)
    if not everything.axes:
        return []
    made = [Candidate(EVERYTHING, "every operator with an integer kernel", fixed)]
    for name, border in DIVISIONS.items():
        division = divide(model.graph, shapes, everything, costs, border=border)
        made.append(Candidate(name, "the least predicted time", fixed | division.float_nodes))
    made += [without([region], fixed) for region in regions(everything, shapes)]
    return distinct(model, made)


def without(left_out: Sequence[Region], fixed: Names) -> Candidate:
    """Return the candidate that leaves whole kinds float."""
    nodes = fixed.union(*(region.nodes for region in left_out))
    name = " and ".join(region.name for region in left_out)
    return Candidate(f"{name} float", "; ".join(region.why for region in left_out), nodes)


def distinct(model: ir.Model, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Keep of candidates that place the same nodes the first, and drop those that place none."""
    found: dict[Names, Candidate] = {}
    for candidate in candidates:
        placement = placement_without(model, candidate.float_nodes)
        placed = frozenset(node.name or "" for node in model.graph if placement.runs_in_integers(node))
        if placement.axes:
            found.setdefault(placed, candidate)
    return list(found.values())


def placement_without(model: ir.Model, float_nodes: Names) -> Placement:
    """Return what runs in integers if the nodes of these names stay float."""
    return place(model.graph, [node for node in model.graph if node.name in float_nodes])
