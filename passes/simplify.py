"""Simplifying a model without changing what it computes."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from onnx_pare.graph.equivalence import RANDOM_OPS, differences, other_sizes
from onnx_pare.graph.load import first_line, load_model, size_bytes
from onnx_pare.graph.metadata import carry_metadata
from onnx_pare.graph.save import remove_model, weight_bytes, write_model
from onnx_pare.graph.session import Feeds
from onnx_pare.graph.signature import signature
from onnx_pare.graph.simplifier import SimplifierTimeoutError, run_onnxsim
from onnx_pare.graph.tidy import tidy
from onnx_pare.graph.verify import problems
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions, register

if TYPE_CHECKING:
    import onnx_ir as ir

logger = logging.getLogger(__name__)

# optimizers that make operators of other domains, or several nodes out of one product
FOREIGN = (
    "fuse_attention",
    "fuse_gqa",
    "fuse_matmul_add_bias_into_gemm_batched",
    "fuse_qkv",
    "fuse_rope",
)
# inlining nested branches can leave nodes before those they need
FRAGILE = ("eliminate_if_with_const_cond", "eliminate_loop_with_const_trip_count")
# what is tried, in order, with the optimizers that onnxsim skips; None: without onnxsim
ATTEMPTS: dict[str, tuple[str, ...] | None] = {
    "onnxsim": FOREIGN,
    "onnxsim, branches kept": (*FOREIGN, *FRAGILE),
    "onnx-ir": None,
}
# samples compared before and after, one by one, and together where the batch is free
SAMPLES = 2
# folding may add so much to the weights
GROWTH, GROWTH_BYTES = 1.1, 1 << 20


@dataclass
class _Trial:
    """The model as it was, and what became of each attempt."""

    model: ir.Model
    context: Context
    folder: Path
    rolled_back: list[dict[str, str]] = field(default_factory=list)
    onnxsim_seconds: float = 0.0
    timed_out: bool = False

    @property
    def before(self) -> Path:
        return self.folder / "before.onnx"

    @property
    def after(self) -> Path:
        return self.folder / "after.onnx"


@register
class Simplify(Pass):
    """Fold constants and BatchNormalization, remove needless nodes; outputs are compared before and after.

    onnxsim runs in a process of its own. If it crashes, hangs, or makes a model that is not the same,
    onnx-ir's passes alone are tried; if that fails too, the model stays as it is. Keeps names, types and
    shapes of all inputs and outputs, free dimensions, initializers that a caller may override as inputs,
    opset versions, and the metadata of the model and of the nodes that remain.
    """

    class Options(PassOptions):
        """Options of `simplify`."""

        timeout_s: float = Field(120.0, gt=0, description="seconds after which onnxsim is stopped")

    lossless = True

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Return the simplified model, or the one given if it cannot get simpler or would not be the same."""
        random = sorted({node.op_type for graph in model.graphs() for node in graph} & RANDOM_OPS)
        if random:
            found = (
                f"the model holds {', '.join(random)}: no two runs are equal, so no rewrite can be verified"
            )
            return Outcome(model, 0, warnings=(f"{found}; left as it is",))
        trial = _Trial(model, context, Path(tempfile.mkdtemp(dir=context.scratch)))
        write_model(model, trial.before)
        try:
            return _outcome(trial, *self._first_that_holds(trial))
        finally:
            for path in (trial.before, trial.after):
                remove_model(path)

    def _first_that_holds(self, trial: _Trial) -> tuple[ir.Model, str]:
        """Return the first result without objection, and how it was made; the model if none is simpler."""
        for name, skip in ATTEMPTS.items():
            if trial.timed_out and skip is not None:
                continue
            try:
                candidate = _attempt(trial, skip, self.options.timeout_s)
                write_model(candidate, trial.after)
                if not _simpler(trial, candidate):
                    return trial.model, name
                reason = next(_objections(trial, candidate), "")
            except (
                Exception
            ) as error:  # whatever it was, the model given still stands, and the reason is told
                reason = first_line(error)
                trial.timed_out |= isinstance(error, SimplifierTimeoutError)
            if not reason:
                return candidate, name
            logger.info("simplify: %s rolled back: %s", name, reason)
            trial.rolled_back.append({"attempt": name, "reason": reason})
        return trial.model, ""


def _attempt(trial: _Trial, skip: tuple[str, ...] | None, timeout_s: float) -> ir.Model:
    candidate = trial.model.clone() if skip is None else _by_onnxsim(trial, skip, timeout_s)
    tidy(candidate)
    _restore_ports(trial.model, candidate)
    return candidate


def _by_onnxsim(trial: _Trial, skip: tuple[str, ...], timeout_s: float) -> ir.Model:
    source, target = trial.before, trial.folder / "onnxsim.onnx"
    defaults = {
        v.name or "": v.const_value for v in trial.model.graph.initializers.values() if v.is_graph_input()
    }
    if defaults:  # onnxsim would take them for constants: show it inputs
        source = trial.folder / "open.onnx"
        opened = trial.model.clone()
        for name in defaults:
            opened.graph.initializers.pop(name).const_value = None
        write_model(opened, source)
    start = time.perf_counter()
    try:
        run_onnxsim(source, target, skip=skip, timeout_s=timeout_s)
    finally:
        trial.onnxsim_seconds += time.perf_counter() - start
    candidate = load_model(target)
    for value in candidate.graph.inputs:
        if value.name in defaults:
            value.const_value = defaults[value.name]
            candidate.graph.register_initializer(value)
    carry_metadata(trial.model, candidate)
    return candidate


def _restore_ports(model: ir.Model, candidate: ir.Model) -> None:
    """Undo what shape inference wrote over free dimensions of inputs and outputs."""
    known = {value.name: value for value in (*model.graph.inputs, *model.graph.outputs)}
    for value in (*candidate.graph.inputs, *candidate.graph.outputs):
        if value.name in known:
            value.shape = known[value.name].shape


def _simpler(trial: _Trial, candidate: ir.Model) -> bool:
    """Return whether the candidate has fewer nodes, or as many in a smaller file."""
    before = sum(_ops(trial.model).values()), size_bytes(trial.before)
    return (sum(_ops(candidate).values()), size_bytes(trial.after)) < before


def _objections(trial: _Trial, candidate: ir.Model) -> Iterator[str]:
    """Yield reasons not to take the candidate, the cheapest to find first."""
    model = trial.model
    for domain, version in candidate.opset_imports.items():
        if model.opset_imports.get(domain) != version:
            yield f"it needs opset {version} of '{domain or 'ai.onnx'}'"
    old_bytes, new_bytes = weight_bytes(model), weight_bytes(candidate)
    if new_bytes > GROWTH * old_bytes + GROWTH_BYTES:
        yield f"its weights grew from {old_bytes} to {new_bytes} bytes"
    if [v.name for v in model.graph.inputs] != [v.name for v in candidate.graph.inputs]:
        yield "its inputs are others"
    yield from problems(trial.after, signature(model), signature(candidate))
    yield from differences(trial.before, trial.after, _feeds(trial), threads=trial.context.threads)


def _feeds(trial: _Trial) -> Iterator[Feeds]:
    samples = trial.context.samples
    first = None
    for feeds, _ in islice(samples.batches(1), SAMPLES):
        first = first or feeds
        yield feeds
    yield from (feeds for feeds, _ in islice(samples.batches(SAMPLES), 1))
    if first is not None:
        yield from other_sizes(first, signature(trial.model))


def _outcome(trial: _Trial, model: ir.Model, by: str) -> Outcome:
    old, new = _ops(trial.model), _ops(model)
    notes: dict[str, Any] = {
        "by": by,
        "nodes_before": sum(old.values()),
        "nodes_after": sum(new.values()),
        "removed": dict(sorted((old - new).items())),
        "added": dict(sorted((new - old).items())),
        "weight_bytes_before": weight_bytes(trial.model),
        "weight_bytes_after": weight_bytes(model),
        "onnxsim_seconds": round(trial.onnxsim_seconds, 3),
        "rolled_back": trial.rolled_back,
    }
    changed = 0 if model is trial.model else max(1, sum(old.values()) - sum(new.values()))
    return Outcome(model, changed, notes, tuple(_warnings(trial, by)))


def _warnings(trial: _Trial, by: str) -> Iterator[str]:
    reasons = "; ".join(f"{entry['attempt']}: {entry['reason']}" for entry in trial.rolled_back)
    if not by:
        yield f"the model was left as it is: {reasons}"
    elif reasons and ATTEMPTS[by] is None:
        yield f"onnxsim's result was not used, only onnx-ir's clean-up: {reasons}"


def _ops(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for graph in model.graphs() for node in graph)
