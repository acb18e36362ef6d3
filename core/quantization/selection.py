"""Which operators stay float because the runtime is faster so: the answer, and one by the cost table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_pare.bench.statistics import Interval
from onnx_pare.graph.shapes import Shapes
from onnx_pare.quantization.candidates import (
    DIVISIONS,
    EVERYTHING,
    Candidate,
    Names,
    placement_without,
)
from onnx_pare.quantization.division import divide
from onnx_pare.quantization.kernel_costs import KernelCosts, kernel_costs

if TYPE_CHECKING:
    import onnx_ir as ir

# the simplest placement is taken if it is predicted to take at most this much longer than the best
CLOSE = 0.015


@dataclass(frozen=True)
class Entry:
    """One candidate and how fast it is.

    Attributes:
        candidate: The placement.
        kind: `measured` or `predicted`.
        latency_ms: Of the quantized model; where predicted, of the parts that are placed.
        speedup: Float latency over this one.
        interval: 95 % interval of the speed-up; None where predicted.
    """

    candidate: Candidate
    kind: str
    latency_ms: float
    speedup: float
    interval: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what the report says of it."""
        return {
            "name": self.candidate.name,
            "why": self.candidate.why,
            "float_nodes": len(self.candidate.float_nodes),
            "kind": self.kind,
            "latency_ms": self.latency_ms,
            "speedup": self.speedup,
            **({} if self.interval is None else {"interval": list(self.interval)}),
        }


@dataclass(frozen=True)
class Selection:
    """What was chosen.

    Attributes:
        float_nodes: Names of the nodes to leave float.
        wins: Whether int8 is faster than float at all; if not, the model had better stay float.
        chosen: The chosen candidate; None if there was nothing to choose from.
        entries: All candidates, in order of preference.
        caveats: What the user should know beside whether int8 wins, one sentence each.
    """

    float_nodes: Names
    wins: bool
    chosen: Entry | None = None
    entries: tuple[Entry, ...] = ()
    caveats: tuple[str, ...] = ()

    def notes(self) -> dict[str, Any]:
        """Return facts for the report."""
        if self.chosen is None:
            return {}
        return {
            "placement": self.chosen.candidate.name,
            "placement_speedup": self.chosen.speedup,
            "placements": [entry.to_json() for entry in self.entries],
            "left_float": sorted(self.float_nodes),
        }

    def warnings(self) -> tuple[str, ...]:
        """Return what the user should know, one sentence each."""
        if self.wins or self.chosen is None:
            return self.caveats
        best = self.chosen
        return (
            *self.caveats,
            f"int8 is not faster than float here: the best of {len(self.entries)} placements "
            f"({best.candidate.name}) is {best.kind} at {best.speedup:.2f}x",
        )


def select_predicted(
    model: ir.Model,
    shapes: Shapes,
    *,
    fixed: Names = frozenset(),
    costs: KernelCosts | None = None,
) -> Selection:
    """Choose the placement of the least predicted time; nothing is timed, so the same model gives the same.

    Args:
        model: The float model, as it is going to be quantized.
        shapes: Shapes of its tensors.
        fixed: Nodes that stay float: those the user skips.
        costs: The cost table; default: this CPU's, or the nearest one there is.
    """
    everything = placement_without(model, fixed)
    if not everything.axes:
        return Selection(fixed, wins=False)
    costs = costs or kernel_costs()
    division = divide(model.graph, shapes, everything, costs)
    best_us = division.divided_us
    if division.integer_us <= best_us * (1 + CLOSE):
        candidate = Candidate(EVERYTHING, f"nothing is predicted to gain by floats on {costs.name}", fixed)
        best_us = division.integer_us
    else:
        candidate = Candidate(
            next(iter(DIVISIONS)), f"the least predicted time on {costs.name}", division.float_nodes | fixed
        )
    speedup = division.float_us / best_us if best_us else 1.0
    entry = Entry(candidate, "predicted", best_us / 1e3, speedup)
    wins = bool(
        placement_without(model, candidate.float_nodes).axes
    )  # integers are where they are predicted to gain
    return Selection(candidate.float_nodes, wins, entry, (entry,), costs.other_cpu())
