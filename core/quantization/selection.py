"""Which operators stay float because the runtime is faster so: measured on this machine, or predicted.

Candidates are placements with a reason: everything that has an integer kernel; the cheapest cut by the cost
table; one kind of operators left float; the kinds that gained, together. They are timed in turn with the
float model, and the first in this order that is within `TIE` of the fastest is chosen. So small differences
do not decide, and the same machine chooses the same placement again, unless two candidates lie just about
`TIE` apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.bench.statistics import Interval, median_interval
from onnx_pare.graph.session import Feeds
from onnx_pare.graph.shapes import Shapes, infer
from onnx_pare.progress import Progress, Silent
from onnx_pare.quantization.division import divide
from onnx_pare.quantization.kernel_costs import KernelCosts, kernel_costs
from onnx_pare.quantization.placement import Placement, place
from onnx_pare.quantization.race import Stopwatch, Timing, race, stopwatch, written
from onnx_pare.quantization.regions import Region, regions

if TYPE_CHECKING:
    import onnx_ir as ir

Build = Callable[[frozenset[str]], "ir.Model"]
Names = frozenset[str]

# a candidate is as good as the fastest if it takes at most this much longer
TIE = 0.025
# what a kind of operators must gain by staying float, for sure, to be left out together with others
GAIN = 0.02
# int8 must be faster than float by this much, and for sure
WORTH = 0.02
# candidates this much slower than the fastest of the first race are not timed again; nor are more than this
SLOWER, FINALISTS = 0.08, 4
EVERYTHING = "all int8"
# divisions of the graph by predicted times, and what conversions are taken to cost in them, as a factor
DIVISIONS = {"cheapest division": 1.0, "cheapest division, dear borders": 2.0}


@dataclass(frozen=True)
class Candidate:
    """A placement to try: what it leaves float, under which name and why."""

    name: str
    why: str
    float_nodes: Names


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


def select_measured(
    model: ir.Model,
    build: Build,
    feeds: Feeds,
    *,
    baseline: ir.Model | None = None,
    fixed: Names = frozenset(),
    threads: int = 1,
    seed: int = 0,
    scratch: Path,
    progress: Progress | None = None,
    budget_s: float = 60.0,
    measure: Stopwatch | None = None,
) -> Selection:
    """Time a few placements against the float model and choose.

    Args:
        model: The float model, as `build` quantizes it (opset raised, BatchNormalization folded).
        build: Quantizes a copy of it with these nodes left float; scales need not be final.
        feeds: One sample.
        baseline: The float model that int8 must beat; default: `model`.
        fixed: Nodes that stay float in every candidate: those the user skips.
        threads: Threads inside one operator.
        seed: Seed of the intervals.
        scratch: A folder for the candidates' files.
        progress: Where to tell that work advances.
        budget_s: Time for timing, roughly: building and loading come on top.
        measure: What times files; injected by tests.

    Raises:
        ModelError: onnxruntime does not load or run one of the models.
        OutputError: The scratch folder is full.
    """
    shapes = infer(model, {name: feed.shape for name, feed in feeds.items()})
    candidates = list_candidates(model, shapes, kernel_costs(), fixed)
    if not candidates:
        return Selection(fixed, wins=False)
    with (progress or Silent()).task("timing placements", len(candidates) + FINALISTS) as advance:
        measure = measure or stopwatch(feeds, threads=threads, seed=seed, advance=advance)
        heat = _Heat(baseline or model, build, scratch, measure, budget_s / 2)
        first = heat.run(candidates)
        candidates += _combined(model, shapes, first, candidates, fixed, seed)
        finalists = _finalists(candidates, first)
        timings = {**first, **heat.run(finalists)}
    return _chosen(candidates, finalists, timings, seed)


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
    everything = _placement(model, fixed)
    if not everything.axes:
        return Selection(fixed, wins=False)
    costs = costs or kernel_costs()
    division = divide(model.graph, shapes, everything, costs)
    candidate = Candidate(
        next(iter(DIVISIONS)), f"the least predicted time on {costs.name}", division.float_nodes | fixed
    )
    speedup = division.float_us / division.divided_us if division.divided_us else 1.0
    entry = Entry(candidate, "predicted", division.divided_us / 1e3, speedup)
    wins = bool(
        _placement(model, candidate.float_nodes).axes
    )  # integers are where they are predicted to gain
    return Selection(candidate.float_nodes, wins, entry, (entry,), costs.other_cpu())


def list_candidates(
    model: ir.Model, shapes: Shapes, costs: KernelCosts, fixed: Names = frozenset()
) -> list[Candidate]:
    """Return the placements to try, in order of preference; none if nothing can be quantized."""
    everything = _placement(model, fixed)
    if not everything.axes:
        return []
    made = [Candidate(EVERYTHING, "every operator with an integer kernel", fixed)]
    for name, border in DIVISIONS.items():
        division = divide(model.graph, shapes, everything, costs, border=border)
        made.append(Candidate(name, "the least predicted time", fixed | division.float_nodes))
    made += [_without([region], fixed) for region in regions(everything, shapes)]
    return _distinct(model, made)


def _without(left_out: Sequence[Region], fixed: Names) -> Candidate:
    nodes = fixed.union(*(region.nodes for region in left_out))
    name = " and ".join(region.name for region in left_out)
    return Candidate(f"{name} float", "; ".join(region.why for region in left_out), nodes)


def _distinct(model: ir.Model, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Keep of candidates that place the same nodes the first, and drop those that place none."""
    found: dict[Names, Candidate] = {}
    for candidate in candidates:
        placement = _placement(model, candidate.float_nodes)
        placed = frozenset(node.name or "" for node in model.graph if placement.runs_in_integers(node))
        if placement.axes:
            found.setdefault(placed, candidate)
    return list(found.values())


def _placement(model: ir.Model, float_nodes: Names) -> Placement:
    return place(model.graph, [node for node in model.graph if node.name in float_nodes])


@dataclass(frozen=True)
class _Heat:
    """Builds candidates, writes them beside the float model, and times them."""

    baseline: ir.Model
    build: Build
    scratch: Path
    measure: Stopwatch
    budget_s: float

    def run(self, candidates: Sequence[Candidate]) -> dict[Candidate, Timing]:
        models = chain([self.baseline], (self.build(each.float_nodes) for each in candidates))
        with written(models, self.scratch) as (original, *paths):
            timings = race(original, paths, self.measure, self.budget_s)
        return dict(zip(candidates, timings, strict=True))


def _combined(
    model: ir.Model,
    shapes: Shapes,
    timings: Mapping[Candidate, Timing],
    candidates: Sequence[Candidate],
    fixed: Names,
    seed: int,
) -> list[Candidate]:
    """Return the candidate that leaves all kinds float that gained by it, if they are two or more."""
    base = timings[candidates[0]]
    found = regions(_placement(model, fixed), shapes)
    gaining = []
    for region in found:
        candidate = _without([region], fixed)
        timing = timings.get(candidate)
        if timing is not None and _surely(timing, base, 1 + GAIN, seed):
            gaining.append(region)
    if len(gaining) < 2:
        return []
    return _distinct(model, [*candidates, _without(gaining, fixed)])[len(candidates) :]


def _surely(one: Timing, other: Timing, times: float, seed: int) -> bool:
    """Tell whether one form is so many times as fast as the other, with the 95 % interval above 1."""
    ratios = _relative(one, other)
    low, _ = median_interval(ratios, seed)
    return bool(np.median(ratios) >= times and low > 1.0)


def _relative(one: Timing, other: Timing) -> np.ndarray[Any, Any]:
    """Return how many times as fast one form is as the other: by round if they ran in the same ones."""
    if len(one.ratios) == len(other.ratios):
        return one.ratios / other.ratios
    return one.ratios / other.speedup


def _finalists(candidates: Sequence[Candidate], first: Mapping[Candidate, Timing]) -> list[Candidate]:
    """Return what is timed again: candidates near the fastest, and those that were not timed yet."""
    fastest = max(timing.speedup for timing in first.values())
    ranked = sorted(first, key=lambda candidate: -first[candidate].speedup)
    near = [each for each in ranked if first[each].speedup * (1 + SLOWER) >= fastest][:FINALISTS]
    return [each for each in candidates if each in near or each not in first]


def _chosen(
    candidates: Sequence[Candidate],
    finalists: Sequence[Candidate],
    timings: Mapping[Candidate, Timing],
    seed: int,
) -> Selection:
    entries = {each: _entry(each, timings[each], seed) for each in candidates}
    fastest = max((timings[each] for each in finalists), key=lambda timing: timing.speedup)
    tied = [each for each in finalists if np.median(_relative(fastest, timings[each])) <= 1 + TIE]
    chosen = entries[tied[0]]
    low = chosen.speedup if chosen.interval is None else chosen.interval[0]
    return Selection(
        float_nodes=chosen.candidate.float_nodes,
        wins=chosen.speedup >= 1 + WORTH and low > 1.0,
        chosen=chosen,
        entries=tuple(entries.values()),
    )


def _entry(candidate: Candidate, timing: Timing, seed: int) -> Entry:
    return Entry(candidate, "measured", timing.latency_ms, timing.speedup, timing.interval(seed))
