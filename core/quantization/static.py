"""Static int8 from end to end: equalize, calibrate, place, round, and keep what helps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from onnx_pare.bench.judge import Judge
from onnx_pare.bench.race import Timing, race, stopwatch, written
from onnx_pare.graph.session import Feeds
from onnx_pare.graph.shapes import Shapes, infer
from onnx_pare.progress import Progress
from onnx_pare.quantization.candidates import list_candidates
from onnx_pare.quantization.contest import select_measured
from onnx_pare.quantization.draft import Draft, Manner, Names, Observe
from onnx_pare.quantization.kernel_costs import kernel_costs
from onnx_pare.quantization.placement import Placement
from onnx_pare.quantization.refine import Split, equalized, refined
from onnx_pare.quantization.selection import Entry, Selection, select_predicted
from onnx_pare.quantization.sensitivity import Limit, Protected, Protection

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.calibration.data import Samples

Select = Literal["auto", "all", "measured", "predicted"]
# seconds for the last word: the finished model against the float one
CHECK_S = 5.0
# the predicted placement is left for another one that is faster by this much
CLEARLY = 0.04


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        manner: How activations and weights become integers, every method that may help included.
        equalize: Whether cross-layer equalization may be used.
        select: What runs in integers: all that can, or what is measured or predicted to be faster so. `auto`
            predicts where the cost table is of this CPU, so that the choice is always the same, and times
            the finished model; elsewhere it measures.
        limit: What the outputs must keep.
        strict: Whether the limit goes before speed: a model that meets it only slower than float stays float.
        skipped: Names of nodes that stay float.
        budget_s: Time at most, roughly, for each of timing and ranking.
    """

    manner: Manner
    equalize: bool = True
    select: Select = "auto"
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
    job = _Job(draft, baseline, judge, split, means)
    if wish.select != "auto":
        return job.run(wish, notes)
    if kernel_costs().exact:
        found = job.run(replace(wish, select="predicted"), notes, timed=True)
        if found.model is not None:
            return found
    return job.run(replace(wish, select="measured"), notes)


@dataclass(frozen=True)
class _Job:
    """A calibrated model on its way to integers."""

    draft: Draft
    baseline: ir.Model
    judge: Judge
    split: Split
    means: Means

    def run(self, wish: Wish, notes: dict[str, Any], *, timed: bool = False) -> Quantized:
        """Place, refine, protect and build.

        Args:
            wish: What is asked for; `select` is not `auto`.
            notes: What is known so far.
            timed: Whether not the prediction, but a timing decides whether int8 is faster than float.
        """
        selection = self._select(wish)
        if timed and selection.chosen:
            selection = self._contested(selection, wish)
        notes = notes | selection.notes()
        if wish.select != "all" and not (selection.wins or (timed and selection.chosen)):
            return Quantized(None, 0, notes, selection.warnings())
        manner, found = refined(self.draft, self.judge, wish.manner, selection.float_nodes)
        notes["methods"] = found
        protected, warnings = self._protect(manner, selection.float_nodes, wish)
        notes |= protected.notes() if protected.ranking else {}
        if protected.float_nodes is None:
            return Quantized(None, 0, notes, warnings)
        float_nodes = selection.float_nodes | protected.float_nodes
        placement = self.draft.place(self.draft.model, float_nodes)
        if not placement.axes:
            return Quantized(None, 0, notes, (*warnings, "no layer is left to quantize; left float"))
        if timed and self._slower(manner, float_nodes):
            return Quantized(None, 0, notes, (*warnings, "int8 is not faster than float here; left float"))
        if self.split.fit is not self.means.samples:
            self.draft.extend(self.split.check)
        return Quantized(
            self.draft.build(manner, float_nodes),
            len(placement),
            notes | _facts(self.draft, placement, manner),
            (*selection.caveats, *warnings),
        )

    def _select(self, wish: Wish) -> Selection:
        if wish.select == "all":
            return Selection(frozenset(), wins=True)
        if wish.select == "predicted":
            return select_predicted(self.draft.model, self._shapes(), fixed=wish.skipped)
        quick = _quick(wish.manner)
        return select_measured(
            self.draft.model,
            lambda float_nodes: self.draft.build(quick, float_nodes),
            self._feeds(),
            baseline=self.baseline,
            fixed=wish.skipped,
            seed=self.means.seed,
            scratch=self.means.scratch,
            progress=self.means.progress,
            budget_s=wish.budget_s,
        )

    def _contested(self, selection: Selection, wish: Wish) -> Selection:
        """Return another placement in place of the predicted one if it is clearly faster."""
        listed = list_candidates(self.draft.model, self._shapes(), kernel_costs(), wish.skipped)
        others = [one for one in listed if one.float_nodes != selection.float_nodes]
        if not others or selection.chosen is None:
            return selection
        quick = _quick(wish.manner)
        sets = [selection.float_nodes, *(one.float_nodes for one in others)]
        predicted, *timings = self._race((self.draft.build(quick, nodes) for nodes in sets), 2 * CHECK_S)
        fastest, other = max(zip(timings, others, strict=True), key=lambda one: one[0].speedup)
        if fastest.speedup < predicted.speedup * (1 + CLEARLY):
            return selection
        interval = fastest.interval(self.means.seed)
        entry = Entry(other, "measured", fastest.latency_ms, fastest.speedup, interval)
        entries = (selection.chosen, entry)
        return replace(selection, float_nodes=other.float_nodes, wins=True, chosen=entry, entries=entries)

    def _protect(self, manner: Manner, chosen: Names, wish: Wish) -> tuple[Protected, tuple[str, ...]]:
        """Return what stays float, beside what was chosen for speed, so that the limit holds."""
        if wish.limit == Limit():
            return Protected(frozenset(), True), ()

        def speedups(sets: Sequence[Names]) -> list[float]:
            return self._speedups([chosen | one for one in sets], wish)

        fast = None if wish.select == "all" else speedups
        protection = Protection(self.draft, self.judge, manner, wish.limit, chosen, fast, wish.budget_s)
        found = protection.fewest() if wish.strict else protection.affordable()
        said = []
        if not found.complete:
            said.append("time ran out while layers were ranked by their damage: time_budget_s gives more")
        if found.float_nodes is None:
            said.append(f"int8 is not faster than float where {_limit(wish.limit)} holds; left float")
        elif not found.met and wish.strict:
            said.append(f"{_limit(wish.limit)} does not hold even so: see the ranking in the report")
        return found, tuple(said)

    def _speedups(self, sets: Sequence[Names], wish: Wish) -> list[float]:
        """Return how much faster than float the model is with each of these sets left float."""
        if wish.select == "predicted":
            shapes = self._shapes()
            found = [select_predicted(self.draft.model, shapes, fixed=wish.skipped | nodes) for nodes in sets]
            return [0.0 if one.chosen is None else one.chosen.speedup for one in found]
        quick = _quick(wish.manner)
        return self._timed((self.draft.build(quick, nodes) for nodes in sets), wish.budget_s / 2)

    def _slower(self, manner: Manner, float_nodes: Names) -> bool:
        (speedup,) = self._timed([self.draft.build(_quick(manner), float_nodes)], CHECK_S)
        return speedup < 1.0

    def _timed(self, forms: Iterable[ir.Model], budget_s: float) -> list[float]:
        """Return how much faster than the baseline each form is."""
        return [timing.speedup for timing in self._race(forms, budget_s)]

    def _race(self, forms: Iterable[ir.Model], budget_s: float) -> list[Timing]:
        """Time each form against the baseline, in turn on this machine."""
        with written(chain([self.baseline], forms), self.means.scratch) as (original, *paths):
            measure = stopwatch(self._feeds(), threads=1, seed=self.means.seed)
            return race(original, paths, measure, budget_s)

    def _feeds(self) -> Feeds:
        return next(iter(self.means.samples))

    def _shapes(self) -> Shapes:
        return infer(self.draft.model, {name: feed.shape for name, feed in self._feeds().items()})


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


def _facts(draft: Draft, placement: Placement, manner: Manner) -> dict[str, Any]:
    owners = dict.fromkeys(value.name or "" for value in placement.owner.values())
    taken = Counter(chosen.method for chosen in draft.ranges(manner, owners).values())
    return {
        "integer_nodes": len(placement),
        "quantized_weights": len(placement.axes),
        "quantized_tensors": len(placement.owner),
        "ranges": dict(sorted(taken.items())),
    }
