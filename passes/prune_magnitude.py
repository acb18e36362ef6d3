"""Zeroing weights that matter little, and fitting those that remain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions, register
from onnx_pare.sparsity.patterns import Pattern
from onnx_pare.sparsity.prunable import Weight, find
from onnx_pare.sparsity.storage import compressed_bytes, sparse_bytes

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.sparsity.reconstruct import Fit

NO_FASTER = "onnxruntime computes with zeros as with any number: no faster, and smaller only once compressed"


class Options(PassOptions):
    """Options of `prune_magnitude`."""

    method: Literal["magnitude", "reconstruct"] = Field(
        "reconstruct",
        description="`magnitude`: zero the smallest weights. `reconstruct`: zero those whose loss the others "
        "make up for best, and fit these to what the layer gave before, on the calibration samples",
    )
    sparsity: float = Field(
        0.5, ge=0, lt=1, description="fraction of the weights to zero; N:M implies its own"
    )
    scope: Literal["layer", "global"] = Field(
        "layer", description="whether the fraction holds in every layer, or over all layers together"
    )
    pattern: str = Field(
        "unstructured",
        pattern=r"^(unstructured|[1-9]\d?:[1-9]\d?)$",
        description="`unstructured`, or N:M as in `2:4`: N of every M consecutive input channels are kept",
    )
    block: list[Annotated[int, Field(ge=1)]] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="[rows, columns]: zero whole blocks of the (outputs, inputs) matrix of a layer",
    )
    skip: list[str] = Field(
        [], description="nodes to leave alone: globs over names (`*/head/*`) or `op:` and a glob over types"
    )

    @property
    def n_of_m(self) -> tuple[int, int] | None:
        """The kept and the group size of an N:M pattern, else None."""
        kept, colon, group = self.pattern.partition(":")
        return (int(kept), int(group)) if colon else None

    def pattern_of(self) -> Pattern:
        """The zeros wanted in a layer."""
        kept, group = self.n_of_m or (None, 1)
        sparsity = self.sparsity if kept is None else 1 - kept / group
        return Pattern(sparsity, kept, group, (self.block[0], self.block[1]) if self.block else None)

    @model_validator(mode="after")
    def _agree(self) -> Options:
        if self.n_of_m:
            self._agree_with_pattern(*self.n_of_m)
        elif self.block and self.scope == "global":
            raise ValueError("scope: blocks are chosen layer by layer; leave out `scope: global`")
        return self

    def _agree_with_pattern(self, kept: int, group: int) -> None:
        if kept >= group:
            raise ValueError(f"pattern: of {self.pattern} the first number must be below the second")
        if "sparsity" in self.model_fields_set and abs(self.sparsity - (1 - kept / group)) > 1e-9:
            raise ValueError(
                f"sparsity: pattern {self.pattern} means {1 - kept / group:g}, not {self.sparsity:g}"
            )
        if self.scope == "global" or self.block:
            option = "block" if self.block else "scope: global"
            raise ValueError(f"pattern: {self.pattern} is decided group by group; leave out `{option}`")


@register
class PruneMagnitude(Pass):
    """Zero weights of Conv, ConvTranspose, Gemm, MatMul, LSTM, GRU and RNN, and fit those that remain.

    Fitted are Conv, Gemm and MatMul of the main graph with weights of their own, biases included; elsewhere
    the weights of smallest magnitude go. Quantized weights and those of other operators are left alone, and a
    weight that several nodes share is pruned once. Keeps names, shapes and types of inputs and outputs, and
    all nodes.
    """

    Options = Options
    calibrates = True

    def reads_samples(self) -> bool:
        """Magnitudes need none."""
        return bool(self.options.method == "reconstruct")

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Prune in place; `changed` counts the weights that became zero.

        Raises:
            UsageError: A selector of `skip` matches nothing.
            DataError: The model does not run on the calibration samples.
        """
        options: Options = self.options
        skipped = select((node for graph in model.graphs() for node in graph), options.skip, "skip")
        found, left = find(model)
        weights = [weight for weight in found if not skipped & set(weight.nodes)]
        pattern = options.pattern_of()
        fitting = [weight for weight in weights if pattern.fits(weight)]
        before = [_zeros(weight) for weight in fitting], compressed_bytes(weights)
        fits = self._prune(model, fitting, pattern, context)
        layers = [_note(*entry, fits.get(entry[0].value)) for entry in zip(fitting, before[0], strict=True)]
        notes = {
            "layers": layers,
            **{key: sum(note[key] for note in layers) for key in ("weights", "zeros_before", "zeros_after")},
            "compressed_weight_bytes_before": before[1],
            "compressed_weight_bytes_after": compressed_bytes(weights),
            "sparse_weight_bytes_after": sparse_bytes(weights, pattern.block or (1, 1)),
            "dense_weight_bytes": sum(weight.read().nbytes for weight in weights),
            "skipped": sorted({node.name or "" for node in skipped}),
            "left_alone": dict(sorted(left.items())),
        }
        unfit = [weight for weight in weights if not pattern.fits(weight)]
        changed = notes["zeros_after"] - notes["zeros_before"]
        return Outcome(model, changed, notes, tuple(_warnings(options, layers, unfit, left)))

    def _prune(
        self, model: ir.Model, weights: Sequence[Weight], pattern: Pattern, context: Context
    ) -> Mapping[ir.Value, Fit | str]:
        """Prune the weights, and return how the layers that were to be fitted came out."""
        patterns = [pattern] * len(weights)
        if self.options.scope == "global":
            patterns = pattern.spread(
                lambda: (weight.read() for weight in weights), _budget(weights, pattern)
            )
        pairs = list(zip(weights, patterns, strict=True))
        if self.options.method == "reconstruct" and any(own.new_zeros(weight) for weight, own in pairs):
            return self._reconstruct(model, weights, pattern, context)
        with context.progress.task("pruning", len(pairs)) as advance:
            for weight, own in pairs:
                own.zero_smallest(weight)
                advance(1)
        return {}

    def _reconstruct(
        self, model: ir.Model, weights: Sequence[Weight], pattern: Pattern, context: Context
    ) -> Mapping[ir.Value, Fit | str]:
        from onnx_pare.sparsity.reconstruct import Network, Target, target_of

        original = model.clone()
        budget = _budget(weights, pattern)
        found: dict[ir.Value, Fit | str] = {}
        targets: list[Target] = []
        for weight in weights:
            target = target_of(weight, model.graph)
            if isinstance(target, Target):
                targets.append(target)
                continue
            found[weight.value] = target
            pattern.zero_smallest(weight)
            budget -= _zeros(weight)
        network = Network(
            original, model, context.samples, context.scratch, context.threads, context.progress
        )
        patterns = [pattern] * len(targets)
        if self.options.scope == "global" and targets:
            patterns = network.allocate(targets, pattern, max(budget, 0))
        pairs = [
            (target, own)
            for target, own in zip(targets, patterns, strict=True)
            if own.new_zeros(target.weight)
        ]
        fits = network.reconstruct(pairs) if pairs else []
        found.update((target.weight.value, one) for (target, _), one in zip(pairs, fits, strict=True))
        return found


def _budget(weights: Sequence[Weight], pattern: Pattern) -> int:
    """Return how many weights are to be zero in all layers together."""
    from onnx_pare.sparsity.masks import zeros_wanted

    return zeros_wanted(sum(weight.read().size for weight in weights), pattern.sparsity)


def _zeros(weight: Weight) -> int:
    import numpy as np

    array = weight.read()
    return int(array.size - np.count_nonzero(array))


def _note(weight: Weight, zeros_before: int, fit: Fit | str | None) -> dict[str, Any]:
    note = {
        "node": weight.node_name,
        "weight": weight.value.name,
        "shared_by": len(weight.nodes),
        "weights": weight.read().size,
        "zeros_before": zeros_before,
        "zeros_after": _zeros(weight),
    }
    if isinstance(fit, str):
        return note | {"not_fitted": fit}
    if fit is None:
        return note
    return note | {
        "output_sqnr_db_zeroed": round(fit.zeroed_db, 2),
        "output_sqnr_db_fitted": round(fit.fitted_db, 2),
    }


def _warnings(
    options: Options, layers: Sequence[Mapping[str, Any]], unfit: Sequence[Weight], left: Mapping[str, str]
) -> Iterator[str]:
    if layers:
        yield NO_FASTER
    if options.n_of_m and layers:
        yield f"{options.pattern} is faster only in runtimes with kernels for it: {_kernels(options)}"
    magnitudes = [note["node"] for note in layers if "not_fitted" in note]
    if magnitudes:
        yield f"{len(magnitudes)} layers were pruned by magnitude, not fitted: {_some(magnitudes)}"
    if unfit:
        names = _some([weight.node_name for weight in unfit])
        yield f"{len(unfit)} layers do not split into groups of {options.pattern} along their inputs: {names}"
    quantized = sum("quantized" in reason for reason in left.values())
    if quantized:
        yield f"{quantized} layers have quantized weights, which are left alone: prune before quantizing"
    elif not layers and not unfit:
        yield "the model holds no float weight that could be pruned"


def _kernels(options: Options) -> str:
    if options.n_of_m == (2, 4):
        return "TensorRT and cuSPARSELt on NVIDIA GPUs from Ampere on"
    return "none is known for this pattern; 2:4 has them"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
