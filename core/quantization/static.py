"""Static int8 from end to end: equalize, calibrate, place, round, and keep what helps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from onnx_pare.graph.shapes import infer
from onnx_pare.progress import Progress
from onnx_pare.quantization.contest import select_measured
from onnx_pare.quantization.draft import Draft, Manner, Names, Observe
from onnx_pare.quantization.judge import Judge
from onnx_pare.quantization.race import race, stopwatch, written
from onnx_pare.quantization.refine import Split, equalized, refined
from onnx_pare.quantization.selection import Selection, select_predicted
from onnx_pare.quantization.sensitivity import Limit, Protected, Protection

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.calibration.data import Samples

Select = Literal["all", "measured", "predicted"]


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        manner: How activations and weights become integers, every method that may help included.
        equalize: Whether cross-layer equalization may be used.
        select: What runs in integers: all that can, or what is measured or predicted to be faster so.
        limit: What the outputs must keep.
        strict: Whether the limit goes before speed: a model that meets it only slower than float stays float.
        skipped: Names of nodes that stay float.
        budget_s: Time at most, roughly, for each of timing and ranking.
    """

    manner: Manner
    equalize: bool = True
    select: Select = "measured"
    limit: Limit = field(default_factory=Limit)
    strict: bool = False
    skipped: Names = frozenset()
    budget_s: float = 60.0


@dataclass(frozen=True)
class Means:
    """What there is to do it with.

    Attributes:
        samples: Calibration samples.
        observe: Runs a model over samples with tensors in view.
        scratch: Folder for temporary files.
        threads: Threads of onnxruntime sessions that are not timed.
        seed: Seed of intervals.
        progress: Where to tell that work advances.
    """

    samples: Samples
    observe: Observe
    scratch: Path
    threads: int
    seed: int
    progress: Progress


@dataclass(frozen=True)
class Quantized:
    """What came of it.

    Attributes:
        model: The int8 model; None if the float model is better left as it is.
        integer_nodes: How many nodes run in integers.
        notes: Facts for the report.
        warnings: What the user should know, one sentence each.
    """

    model: ir.Model | None
    integer_nodes: int
    notes: dict[str, Any]
    warnings: tuple[str, ...] = ()


def quantize(model: ir.Model, baseline: ir.Model, wish: Wish, means: Means) -> Quantized:
    """Quantize a float model.

    Methods are judged on samples that ranges were not taken from, as far as there are enough; afterwards
    ranges are widened by these samples too.

    Args:
        model: Its opset is 13 or newer, its BatchNormalizations are folded; it is not changed.
        baseline: The float model that int8 must beat: `model` as it is best run in float.
        wish: What is asked for.
        means: What there is to do it with.

    Raises:
        DataError: The model does not run on the samples.
        ModelError: onnxruntime does not load a candidate.
    """
    split = Split.of(means.samples)
    judge = Judge(model, split.check, means.scratch, means.threads)
    draft = Draft(model, split.fit, means.observe, wish.skipped)
    notes: dict[str, Any] = {}
    if wish.equalize:
        draft, notes = equalized(draft, judge, _quick(wish.manner))
    draft.calibrate(moments=True)
    selection = _select(draft, baseline, wish, means)
    notes |= selection.notes()
    if wish.select != "all" and not selection.wins:
        return Quantized(None, 0, notes, selection.warnings())
    manner, found = refined(draft, judge, wish.manner, selection.float_nodes)
    notes["methods"] = found
    protected, warnings = _protect(draft, baseline, judge, manner, selection.float_nodes, wish, means)
    notes |= protected.notes() if protected.ranking else {}
    if protected.float_nodes is None:
        return Quantized(None, 0, notes, warnings)
    float_nodes = selection.float_nodes | protected.float_nodes
    if split.check is not means.samples and split.fit is not means.samples:
        draft.extend(split.check)
    result = draft.build(manner, float_nodes)
    return Quantized(
        result,
        len(draft.place(draft.model, float_nodes)),
        notes | _facts(draft, manner, float_nodes),
        (*selection.caveats, *warnings),
    )


def _select(draft: Draft, baseline: ir.Model, wish: Wish, means: Means) -> Selection:
    if wish.select == "all":
        return Selection(frozenset(), wins=True)
    feeds = next(iter(means.samples))
    if wish.select == "predicted":
        shapes = infer(draft.model, {name: feed.shape for name, feed in feeds.items()})
        return select_predicted(draft.model, shapes, fixed=wish.skipped)
    quick = _quick(wish.manner)
    return select_measured(
        draft.model,
        lambda float_nodes: draft.build(quick, float_nodes),
        feeds,
        baseline=baseline,
        fixed=wish.skipped,
        seed=means.seed,
        scratch=means.scratch,
        progress=means.progress,
        budget_s=wish.budget_s,
    )


def _protect(
    draft: Draft, baseline: ir.Model, judge: Judge, manner: Manner, chosen: Names, wish: Wish, means: Means
) -> tuple[Protected, tuple[str, ...]]:
    """Return what stays float, beside what was chosen for speed, so that the limit holds."""
    if wish.limit == Limit():
        return Protected(frozenset(), True), ()

    def timed(sets: Sequence[Names]) -> list[float]:
        return _speedups(draft, baseline, [chosen | one for one in sets], wish, means)

    protection = Protection(
        draft, judge, manner, wish.limit, chosen, None if wish.select == "all" else timed, wish.budget_s
    )
    found = protection.fewest() if wish.strict else protection.affordable()
    said = []
    if not found.complete:
        said.append("time ran out while layers were ranked by their damage: time_budget_s gives more")
    if found.float_nodes is None:
        said.append(f"int8 is not faster than float where {_limit(wish.limit)} holds; left float")
    elif not found.met and wish.strict:
        said.append(f"{_limit(wish.limit)} does not hold even so: see the ranking in the report")
    return found, tuple(said)


def _speedups(
    draft: Draft, baseline: ir.Model, sets: Sequence[Names], wish: Wish, means: Means
) -> list[float]:
    """Return how much faster than float the model is with each of these sets left float."""
    feeds = next(iter(means.samples))
    if wish.select == "predicted":
        shapes = infer(draft.model, {name: feed.shape for name, feed in feeds.items()})
        found = [select_predicted(draft.model, shapes, fixed=wish.skipped | nodes) for nodes in sets]
        return [0.0 if one.chosen is None else one.chosen.speedup for one in found]
    quick = _quick(wish.manner)
    models = chain([baseline], (draft.build(quick, nodes) for nodes in sets))
    with written(models, means.scratch) as (original, *paths):
        timings = race(original, paths, stopwatch(feeds, threads=1, seed=means.seed), wish.budget_s / 2)
    return [timing.speedup for timing in timings]


def _quick(manner: Manner) -> Manner:
    """Return a manner that is quick to build: speed does not depend on the numbers."""
    return replace(manner, layers=replace(manner.layers, adaptive=False, clip=False))


def _limit(limit: Limit) -> str:
    parts = []
    if limit.min_sqnr_db is not None:
        parts.append(f"an SQNR of {limit.min_sqnr_db:g} dB")
    if limit.max_top1_drop is not None:
        parts.append(f"a change of top-1 by at most {limit.max_top1_drop:g}")
    return " and ".join(parts)


def _facts(draft: Draft, manner: Manner, float_nodes: Names) -> dict[str, Any]:
    placement = draft.place(draft.model, float_nodes)
    owners = dict.fromkeys(value.name or "" for value in placement.owner.values())
    taken = Counter(chosen.method for chosen in draft.ranges(manner, owners).values())
    return {
        "integer_nodes": len(placement),
        "quantized_weights": len(placement.axes),
        "quantized_tensors": len(placement.owner),
        "ranges": dict(sorted(taken.items())),
    }
