"""What `substitute_dsc` and `factorize` share: layers replaced by ones of some rank, under one target."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from onnx_pare.errors import PassError
from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes
    from onnx_pare.sparsity.choosing import Candidate
    from onnx_pare.sparsity.layers import Layer
    from onnx_pare.sparsity.prices import Prices
    from onnx_pare.sparsity.substitution import Kind, Means, Replaced
    from onnx_pare.sparsity.targets import Targets

    KindOf = Callable[[Shapes], Kind]
Ratio = Annotated[float, Field(gt=0, lt=1)]
TARGETS = ("macs_ratio", "latency_ratio", "max_error", "ranks")
# an error of a tenth of the signal
USUAL_ERROR = 0.01
NO_LAYER = "weights not constant float32, or read elsewhere too; or not a plain layer with its bias"
SYNTHETIC = "synthetic samples: ranks and weights suit them rather than real data; give calibration data"


class RankOptions(PassOptions):
    """Keys of the passes that replace layers by rank; at most one of the targets is given."""

    macs_ratio: Ratio | None = Field(
        None, description="target: multiply-accumulates of the model, after / before"
    )
    latency_ratio: Ratio | None = Field(
        None, description="target: latency of the model on `profile`, after / before"
    )
    max_error: Ratio | None = Field(
        None,
        description="target: as cheap as it gets with this mean square error of the outputs relative to their"
        f" power, foreseen before weights are fitted; {USUAL_ERROR} if no target is given",
    )
    ranks: dict[str, Annotated[int, Field(ge=1)]] | None = Field(
        None, description="target: ranks by selector, as {'*/conv2': 2}; the last that matches counts"
    )
    profile: Literal["local"] | None = Field(
        None, description="replace no layer where that is measured to be slower: `local` is this machine"
    )
    fit: bool = Field(True, description="fit to the layers' outputs on calibration data; else the plain SVD")
    skip: list[str] = Field(
        [], description="nodes to leave alone: globs over names (`*/head/*`) or `op:` and a glob over types"
    )

    @model_validator(mode="after")
    def _one_target(self) -> RankOptions:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[1]}: {given[0]} is given too; choose one target")
        return self

    def reads_samples(self) -> bool:
        """Tell whether samples are needed: not for given ranks of the plain SVD."""
        return self.fit or self.ranks is None


def means_of(context: Context, shapes: Shapes) -> Means:
    """Return what a context gives to fit layers with, for a model with tensors of these shapes."""
    from onnx_pare.sparsity.substitution import Means

    return Means(context.samples, context.scratch, context.threads, context.progress, shapes.largest_bytes)


class RankPass(Pass):
    """A pass that replaces layers by ones of some rank; a subclass says what kind they are."""

    Options: ClassVar[type[PassOptions]] = RankOptions
    calibrates = True
    idempotent = False

    def reads_samples(self) -> bool:
        """Tell whether samples are needed: not for given ranks of the plain SVD."""
        return bool(self.options.reads_samples())

    @abstractmethod
    def kind(self, shapes: Shapes) -> Kind:
        """Return the kind of replacement, given the shapes of the model's tensors."""

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Replace layers; `changed` counts them.

        Raises:
            PassError: The target cannot be reached.
            UsageError: A selector matches nothing.
            DataError: The model does not run on the samples.
        """
        return substitute(self.name, model, self.kind, self.options, context)


def substitute(
    name: str, model: ir.Model, kind_of: KindOf, options: RankOptions, context: Context
) -> Outcome:
    """Replace layers of a model, and return it as it was if none is replaced.

    Args:
        name: The pass's name.
        model: The model.
        kind_of: Makes the kind of replacement, given the shapes of the model's tensors.
        options: What is asked for.
        context: What passes share.

    Raises:
        PassError: The target cannot be reached.
        UsageError: A selector matches nothing.
        DataError: The model does not run on the samples.
    """
    from onnx_pare.graph.batchnorm import fold_batch_norms
    from onnx_pare.graph.shapes import infer

    changed = model.clone()
    fold_batch_norms(changed)
    sample, _ = next(context.samples.batches(1))
    shapes = infer(changed, {key: array.shape for key, array in sample.items()})
    run = _Run(name, changed, kind_of(shapes), shapes, options, context)
    return run.outcome() or Outcome(model, 0, run.notes(), tuple(run.warnings))


@dataclass
class _Run:
    """One pass over one model, whose BatchNormalizations are folded."""

    name: str
    model: ir.Model
    kind: Kind
    shapes: Shapes
    options: RankOptions
    context: Context
    left: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    macs: dict[str, int] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)

    def outcome(self) -> Outcome | None:
        """Replace layers; None if there are none to be replaced."""
        from onnx_pare.cost.count import count
        from onnx_pare.sparsity.substitution import replace

        if self._is_quantized():
            return None
        self.macs = {row.name: row.macs or 0 for row in count(self.model, self.shapes).rows}
        layers = list(self._layers())
        ranks = self._given(layers) if self.options.ranks is not None else self._chosen(layers)
        if not ranks:
            return None
        if self.context.samples.random and self.options.reads_samples():
            self.warnings.append(SYNTHETIC)
        chosen = [layer for layer in layers if layer.node.name in ranks]
        after = {_name(layer): self._cost(layer, ranks[_name(layer)]) for layer in chosen}
        replaced = replace(self.model, self.kind, ranks, self.means, fitted=self.options.fit)
        return Outcome(self.model, len(replaced), self.notes(replaced, after), tuple(self.warnings))

    def notes(
        self, replaced: Sequence[Replaced] = (), after: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return the facts for the report."""
        after = after or {}
        total = sum(self.macs.values())
        saved = sum(self.macs[name] - macs for name, macs in after.items())
        return {
            "layers": [_note(entry, self.macs[entry.name], after[entry.name]) for entry in replaced],
            "macs_before": total,
            "macs_after": total - saved,
            **self.target,
            "left_alone": dict(sorted(self.left.items())),
        }

    def _is_quantized(self) -> bool:
        from onnx_pare.quantization.census import quantized_nodes

        already = sorted({node.op_type for node in quantized_nodes(self.model)})
        if already:
            said = f"{self.name}: the model is quantized already ({', '.join(already)}); left alone"
            self.warnings.append(f"{said}: replace layers before quantizing")
        return bool(already)

    def _nodes(self) -> list[ir.Node]:
        return [node for graph in self.model.graphs() for node in graph]

    def _layers(self) -> Iterator[Layer]:
        """Yield the layers that can be replaced, and note why others cannot."""
        from onnx_pare.sparsity.layers import layer_of

        skipped = select(self._nodes(), self.options.skip, "skip")
        for node in self._nodes():
            if node.op_type not in self.kind.ops or node in skipped:
                continue
            layer = layer_of(node)
            reason = self._reason(node, layer)
            if layer is not None and not reason:
                yield layer
            else:
                self.left[node.name or ""] = reason

    def _reason(self, node: ir.Node, layer: Layer | None) -> str:
        """Return why a node cannot be replaced; empty if it can."""
        if node.graph is not self.model.graph:
            return "inside a branch or a loop"
        if layer is None:
            return NO_LAYER
        return self.kind.refuses(layer) or ("" if self.macs.get(_name(layer)) else "MACs unknown")

    def _given(self, layers: Sequence[Layer]) -> dict[str, int]:
        """Return the ranks of the recipe, where they are cheaper than the layer."""
        wanted: dict[str, int] = {}
        for selector, rank in (self.options.ranks or {}).items():
            wanted |= {node.name or "": rank for node in select(self._nodes(), [selector], "ranks")}
        ranks = {layer: wanted[_name(layer)] for layer in layers if _name(layer) in wanted}
        for layer, rank in list(ranks.items()):
            if self._cost(layer, rank) >= self.macs[_name(layer)]:
                self.left[_name(layer)] = f"rank {ranks.pop(layer)} takes no fewer MACs"
        if self.options.profile is not None:
            prices = self._prices({layer: [rank] for layer, rank in ranks.items()})
            for layer, rank in list(ranks.items()):
                if not prices.is_faster(_name(layer), rank):
                    self.left[_name(layer)] = f"rank {ranks.pop(layer)} is measured to be no faster"
        return {_name(layer): rank for layer, rank in ranks.items()}

    def _chosen(self, layers: Sequence[Layer]) -> dict[str, int]:
        """Return the ranks that meet the target with the least error.

        Raises:
            PassError: None do.
        """
        from onnx_pare.sparsity.choosing import foreseen, survey, weigh
        from onnx_pare.sparsity.harm import harm_on
        from onnx_pare.sparsity.targets import Targets, UnreachableError

        options = self.options
        positions = {_name(layer): self.macs[_name(layer)] // layer.weight().size for layer in layers}
        candidates = survey(self.model, self.kind, layers, positions, self.means)
        self._leave(layers, candidates, "no rank takes fewer MACs")
        prices = None
        if options.profile is not None or options.latency_ratio is not None:
            prices = self._prices(_ranks(layers, candidates))
            faster = [prices.without_slower(candidate) for candidate in candidates]
            candidates = [candidate for candidate in faster if candidate.choices]
            self._leave(layers, candidates, "no rank is measured to be faster")
        if not candidates:
            return self._nothing()
        harm = harm_on(self.model, sum(self.macs.values()), len(candidates), self.means)
        factors = weigh(self.model, candidates, harm, self.context.progress)
        targets = Targets(self.model, self.kind, candidates, factors, self.means)
        try:
            found = self._meet(targets, prices)
        except UnreachableError as error:
            raise self._unreachable(error.least) from error
        self.target["error_foreseen"] = float(f"{foreseen(candidates, factors, found):.3g}")
        return found

    def _meet(self, targets: Targets, prices: Prices | None) -> dict[str, int]:
        options = self.options
        if options.macs_ratio is not None:
            return targets.within_macs(options.macs_ratio, sum(self.macs.values()))
        if options.latency_ratio is None or prices is None:
            return targets.within_error(options.max_error or USUAL_ERROR)
        found = targets.within_latency(options.latency_ratio, prices)
        self.target["latency_ratio_measured"] = round(targets.latency_ratio, 4)
        return found

    def _leave(self, layers: Sequence[Layer], candidates: Sequence[Candidate], reason: str) -> None:
        """Note the reason for all layers that are none of the candidates."""
        names = {candidate.name for candidate in candidates}
        for layer in layers:
            if _name(layer) not in names:
                self.left.setdefault(_name(layer), reason)

    def _nothing(self) -> dict[str, int]:
        """Return that no layer is replaced, unless that misses a target."""
        if self.options.macs_ratio is not None or self.options.latency_ratio is not None:
            raise self._unreachable(1.0)
        return {}

    def _prices(self, ranks: Mapping[Layer, Sequence[int]]) -> Prices:
        from onnx_pare.sparsity.prices import Prices

        prices = Prices(self.context.scratch, self.context.seed)
        prices.measure(self.kind, ranks, self.shapes, self.context.progress)
        return prices

    @cached_property
    def means(self) -> Means:
        """What there is to fit with."""
        return means_of(self.context, self.shapes)

    def _cost(self, layer: Layer, rank: int) -> int:
        return self.macs[_name(layer)] // layer.weight().size * self.kind.macs(layer, rank)

    def _unreachable(self, least: float) -> PassError:
        target = "macs_ratio" if self.options.macs_ratio is not None else "latency_ratio"
        wanted = getattr(self.options, target)
        return PassError(
            self.name,
            f"{target} {wanted:g} cannot be reached: with the smallest ranks it is {least:.3g}",
            hint="Ask for more than that, or let another pass take its share.",
        )


def _note(entry: Replaced, before: int, after: int) -> dict[str, Any]:
    import math

    found = {"layer": entry.name, "rank": entry.rank, "macs_before": before, "macs_after": after}
    if entry.error is not None:
        found["error_db"] = round(10 * math.log10(max(entry.error, 1e-12)), 2)
    return found


def _name(layer: Layer) -> str:
    return layer.node.name or ""


def _ranks(layers: Sequence[Layer], candidates: Sequence[Candidate]) -> dict[Layer, list[int]]:
    """Return the ranks that each candidate's layer may have."""
    ranks = {candidate.name: [choice.rank for choice in candidate.choices] for candidate in candidates}
    return {layer: ranks[_name(layer)] for layer in layers if _name(layer) in ranks}
