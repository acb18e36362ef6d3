"""What `substitute_dsc` and `factorize` share: layers replaced by ones of some rank, under one target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from onnx_pare.errors import PassError
from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, PassOptions

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes
    from onnx_pare.sparsity.layers import Layer
    from onnx_pare.sparsity.prices import Prices
    from onnx_pare.sparsity.substitution import Candidate, Choice, Kind, Means, Replaced

    KindOf = Callable[[Shapes], Kind]
Ratio = Annotated[float, Field(gt=0, lt=1)]
TARGETS = ("macs_ratio", "latency_ratio", "max_error", "ranks")
# an error of a tenth of the signal
USUAL_ERROR = 0.01
# times that a budget of latency is tightened before the target is given up
ATTEMPTS = 4
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

        self.macs = {row.name: row.macs or 0 for row in count(self.model, self.shapes).rows}
        layers = list(self._layers())
        ranks = self._given(layers) if self.options.ranks is not None else self._chosen(layers)
        if not ranks:
            return None
        if self.context.samples.random and self.options.reads_samples():
            self.warnings.append(SYNTHETIC)
        chosen = [layer for layer in layers if layer.node.name in ranks]
        after = {_name(layer): self._cost(layer, ranks[_name(layer)]) for layer in chosen}
        replaced = replace(self.model, self.kind, ranks, self._means(), fitted=self.options.fit)
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

    def _layers(self) -> Iterator[Layer]:
        """Yield the layers that can be replaced, and note why others cannot."""
        from onnx_pare.sparsity.layers import layer_of

        skipped = select(self.model.graph, self.options.skip, "skip")
        for node in self.model.graph:
            if node.op_type not in ("Conv", "Gemm", "MatMul") or node in skipped:
                continue
            layer = layer_of(node)
            reason = (
                self.kind.refuses(layer) if layer else "weights not constant float32, or used elsewhere too"
            )
            if layer is None or reason:
                self.left[node.name or ""] = reason
            elif self.macs.get(node.name or ""):
                yield layer

    def _given(self, layers: Sequence[Layer]) -> dict[str, int]:
        """Return the ranks of the recipe, where they are cheaper than the layer."""
        ranks: dict[str, int] = {}
        for selector, rank in (self.options.ranks or {}).items():
            chosen = select([layer.node for layer in layers], [selector], "ranks")
            ranks |= {node.name or "": rank for node in chosen}
        for layer in layers:
            if _name(layer) in ranks and self._cost(layer, ranks[_name(layer)]) >= self.macs[_name(layer)]:
                self.left[_name(layer)] = f"rank {ranks.pop(_name(layer))} takes no fewer MACs"
        return ranks

    def _chosen(self, layers: Sequence[Layer]) -> dict[str, int]:
        """Return the ranks that meet the target with the least error."""
        from onnx_pare.sparsity.harm import harm_on
        from onnx_pare.sparsity.substitution import survey, weigh

        positions = {_name(layer): self.macs[_name(layer)] // layer.weight().size for layer in layers}
        candidates = survey(self.model, self.kind, layers, positions, self._means())
        timed = self.options.profile is not None or self.options.latency_ratio is not None
        prices = self._prices(layers, candidates) if timed else None
        if prices is not None:
            candidates = [prices.without_slower(candidate) for candidate in candidates]
        candidates = [candidate for candidate in candidates if candidate.choices]
        if not candidates:
            return {}
        harm = harm_on(self.model, sum(self.macs.values()), len(candidates), self._means())
        factors = weigh(self.model, candidates, harm, self.context.progress)
        if self.options.latency_ratio is not None:
            assert prices is not None
            return self._faster(candidates, factors, prices)
        return self._cheaper(candidates, factors)

    def _cheaper(self, candidates: Sequence[Candidate], factors: Mapping[str, float]) -> dict[str, int]:
        from onnx_pare.sparsity.substitution import choose

        ratio, total = self.options.macs_ratio, sum(self.macs.values())
        fixed = total - sum(candidate.macs for candidate in candidates)
        found = choose(
            candidates,
            factors,
            prices=_macs,
            budget=None if ratio is None else ratio * total - fixed,
            max_error=self.options.max_error or USUAL_ERROR,
        )
        if found is None:
            least = (fixed + sum(candidate.choices[0].macs for candidate in candidates)) / total
            raise self._unreachable("macs_ratio", least)
        return found

    def _faster(
        self, candidates: Sequence[Candidate], factors: Mapping[str, float], prices: Prices
    ) -> dict[str, int]:
        """Return the ranks with which the model as a whole is measured to be as fast as asked for.

        Times of layers alone do not add up to that of the model: what is lacking tightens the budget.
        """
        from onnx_pare.sparsity.substitution import choose

        wanted = self.options.latency_ratio or 1.0
        layers_ms = sum(prices(candidate, None) for candidate in candidates)
        least = {each.name: min(each.choices, key=lambda one: prices(each, one)).rank for each in candidates}
        before_ms, ratio = self._measured(least, prices)
        if ratio > wanted:
            raise self._unreachable("latency_ratio", ratio)
        allowed = wanted
        for _ in range(ATTEMPTS):
            budget = layers_ms - (1 - allowed) * before_ms
            found = choose(candidates, factors, prices=prices, budget=budget) or least
            _, ratio = self._measured(found, prices)
            self.target = {"latency_ratio_measured": round(ratio, 4)}
            if ratio <= wanted or found == least:
                break
            allowed -= ratio - wanted
        return found if ratio <= wanted else least

    def _measured(self, ranks: Mapping[str, int], prices: Prices) -> tuple[float, float]:
        """Return the model's latency in ms, and what that of a model with these ranks is, divided by it."""
        from onnx_pare.sparsity.substitution import replace

        changed = self.model.clone()
        replace(changed, self.kind, ranks, self._means(), fitted=False)
        feeds, _ = next(self.context.samples.batches(1))
        return prices.compare(self.model, changed, feeds)

    def _prices(self, layers: Sequence[Layer], candidates: Sequence[Candidate]) -> Prices:
        from onnx_pare.sparsity.prices import Prices

        prices = Prices(self.context.scratch, self.context.seed)
        prices.measure(self.kind, layers, candidates, self.shapes, self.context.progress)
        return prices

    def _means(self) -> Means:
        from onnx_pare.sparsity.substitution import Means

        context = self.context
        largest = self.shapes.largest_bytes
        return Means(context.samples, context.scratch, context.threads, context.progress, largest)

    def _cost(self, layer: Layer, rank: int) -> int:
        return self.macs[_name(layer)] // layer.weight().size * self.kind.macs(layer, rank)

    def _unreachable(self, target: str, least: float) -> PassError:
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


def _macs(candidate: Candidate, choice: Choice | None) -> float:
    return candidate.macs if choice is None else choice.macs
