"""Choosing a placement by timing candidates on this machine.

They are timed in turn with the float model, and the first in order of preference that is within `TIE` of the
fastest is chosen. So small differences do not decide, and the same machine chooses the same placement again,
unless two candidates lie just about `TIE` apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.bench.race import Stopwatch, Timing, race, stopwatch, written
from onnx_pare.bench.statistics import median_interval
from onnx_pare.graph.session import Feeds
from onnx_pare.graph.shapes import Shapes, infer
from onnx_pare.progress import Progress, Silent
from onnx_pare.quantization.candidates import (
    Candidate,
    Names,
    distinct,
    list_candidates,
    placement_without,
    without,
)
from onnx_pare.quantization.kernel_costs import kernel_costs
from onnx_pare.quantization.regions import regions
from onnx_pare.quantization.selection import Entry, Selection

if TYPE_CHECKING:
    import onnx_ir as ir

Build = Callable[[frozenset[str]], "ir.Model"]

# finalists are loaded and timed so often: the same kernels differ by some percent between sessions, as their
# memory lies
SESSIONS = 2
# a candidate is as good as the fastest if it takes at most this much longer
TIE = 0.04
# what a kind of operators must gain by staying float, for sure, to be left out together with others
GAIN = 0.03
# int8 must be faster than float by this much, and for sure
WORTH = 0.02
# candidates this much slower than the fastest of the first race are not timed again, nor are more than this
SLOWER, FINALISTS = 0.08, 4


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
    with (progress or Silent()).task("timing placements", len(candidates) + FINALISTS * SESSIONS) as advance:
        measure = measure or stopwatch(feeds, threads=threads, seed=seed, advance=advance)
        heat = _Heat(baseline or model, build, scratch, measure, budget_s / (1 + SESSIONS))
        first = heat.run(candidates)
        candidates += _combined(model, shapes, first, candidates, fixed, seed)
        finalists = _finalists(candidates, first)
        timings = {**first, **_together([heat.run(finalists) for _ in range(SESSIONS)])}
    return _chosen(candidates, finalists, timings, seed)


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


def _together(heats: Sequence[Mapping[Candidate, Timing]]) -> dict[Candidate, Timing]:
    """Put the rounds of several heats of the same candidates together."""
    return {
        candidate: Timing(
            float(np.median([heat[candidate].latency_ms for heat in heats])),
            np.concatenate([heat[candidate].ratios for heat in heats]),
        )
        for candidate in heats[0]
    }


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
    found = regions(placement_without(model, fixed), shapes)
    gaining = []
    for region in found:
        candidate = without([region], fixed)
        timing = timings.get(candidate)
        if timing is not None and _surely(timing, base, 1 + GAIN, seed):
            gaining.append(region)
    if len(gaining) < 2:
        return []
    return distinct(model, [*candidates, without(gaining, fixed)])[len(candidates) :]


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
    """Return what is timed again: the fastest, the preferred near it, and those that were not timed yet."""
    fastest = max(first, key=lambda candidate: first[candidate].speedup)
    near = [each for each in first if first[each].speedup * (1 + SLOWER) >= first[fastest].speedup]
    again = {*near[: FINALISTS - 1], fastest}
    return [each for each in candidates if each in again or each not in first]


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
