"""Zeroing weights of small magnitude."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from onnx_pare.graph.edit import set_constant
from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions, register
from onnx_pare.sparsity.prunable import Weight, find

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

# above this, compressing the weights to see their size would take longer than everything else
COMPRESS_LIMIT_BYTES = 256 << 20
NO_FASTER = "onnxruntime computes with zeros as with any number: no faster, and smaller only once compressed"


class Options(PassOptions):
    """Options of `prune_magnitude`."""

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


@dataclass(frozen=True)
class _Pruned:
    """What became of one weight."""

    weight: Weight
    size: int
    zeros_before: int
    zeros_after: int

    def note(self) -> dict[str, Any]:
        return {
            "node": self.weight.node_name,
            "weight": self.weight.value.name,
            "shared_by": len(self.weight.nodes),
            "weights": self.size,
            "zeros_before": self.zeros_before,
            "zeros_after": self.zeros_after,
        }


@register
class PruneMagnitude(Pass):
    """Zero the weights of smallest magnitude of every Conv, ConvTranspose, Gemm, MatMul, LSTM, GRU and RNN.

    Biases, quantized weights, and weights of other operators are left alone, subgraphs are pruned like the
    main graph, and a weight that several nodes share is pruned once. `scope: global` compares magnitudes
    between layers as they are: fold BatchNormalization first (`simplify`), since it rescales them. Keeps
    names, shapes and types of everything.
    """

    Options = Options

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Zero weights in place; `changed` counts those that were not zero before.

        Raises:
            UsageError: A selector of `skip` matches nothing.
        """
        options: Options = self.options
        skipped = select((node for graph in model.graphs() for node in graph), options.skip, "skip")
        found, left = find(model)
        weights = [weight for weight in found if not skipped & set(weight.nodes)]
        bytes_before = _compressed_bytes(weights)
        pruned, unfit = [], []
        with context.progress.task("pruning", len(weights)) as advance:
            for weight, mask in _masks(weights, options):
                if mask is None:
                    unfit.append(weight)
                else:
                    pruned.append(_prune(weight, mask))
                advance(1)
        changed = sum(result.zeros_after - result.zeros_before for result in pruned)
        notes = {
            "layers": [result.note() for result in pruned],
            "weights": sum(result.size for result in pruned),
            "zeros_before": sum(result.zeros_before for result in pruned),
            "zeros_after": sum(result.zeros_after for result in pruned),
            "compressed_weight_bytes_before": bytes_before,
            "compressed_weight_bytes_after": _compressed_bytes(weights),
            "skipped": sorted({node.name or "" for node in skipped}),
            "left_alone": dict(sorted(left.items())),
        }
        return Outcome(model, changed, notes, tuple(_warnings(options, pruned, unfit, left)))


def _masks(weights: list[Weight], options: Options) -> Iterator[tuple[Weight, Mask | None]]:
    """Yield the mask of each weight; None where it does not fit the pattern."""
    from onnx_pare.sparsity import masks

    if options.scope == "global":
        wanted = masks.zeros_wanted(sum(weight.read().size for weight in weights), options.sparsity)
        bits, ties = masks.threshold(lambda: (weight.read() for weight in weights), wanted)
        for weight in weights:
            mask, ties = masks.below(weight.read(), bits, ties)
            yield weight, mask
        return
    make = partial(_n_of_m, *options.n_of_m) if options.n_of_m else partial(_fraction, options)
    for weight in weights:
        yield weight, make(weight)


def _n_of_m(kept: int, group: int, weight: Weight) -> Mask | None:
    from onnx_pare.sparsity import masks

    array = weight.read()
    return None if array.shape[weight.axis] % group else masks.n_of_m(array, kept, group, weight.axis)


def _fraction(options: Options, weight: Weight) -> Mask:
    from onnx_pare.sparsity import masks

    array = weight.read()
    if options.block is None:
        return masks.smallest(array, masks.zeros_wanted(array.size, options.sparsity))
    order = weight.matrix_order(array.ndim)
    turned = array.transpose(order)
    matrix = turned.reshape(weight.matrix_rows(array.shape), -1)
    rows, columns = options.block
    mask = masks.blocks(matrix, rows, columns, options.sparsity).reshape(turned.shape)
    back: Mask = mask.transpose(sorted(range(array.ndim), key=order.__getitem__))
    return back


def _prune(weight: Weight, mask: Mask) -> _Pruned:
    """Zero the masked weights; a tensor in which none is new stays the same, byte for byte."""
    import numpy as np

    array = weight.read()
    before = array.size - int(np.count_nonzero(array))
    new = int(np.count_nonzero(array[mask]))
    if new:
        set_constant(weight.value, np.where(mask, array.dtype.type(0), array))
    return _Pruned(weight, array.size, before, before + new)


def _compressed_bytes(weights: Iterable[Weight]) -> int | None:
    """Return the size of all weights as Deflate packs them, in bytes; None if they are too many to try."""
    weights = list(weights)
    if sum(weight.read().nbytes for weight in weights) > COMPRESS_LIMIT_BYTES:
        return None
    packer = zlib.compressobj(1)
    size = sum(len(packer.compress(weight.read().tobytes())) for weight in weights)
    return size + len(packer.flush()) if weights else 0


def _warnings(
    options: Options, pruned: list[_Pruned], unfit: list[Weight], left: dict[str, str]
) -> Iterator[str]:
    if pruned:
        yield NO_FASTER
    if options.n_of_m and pruned:
        yield f"{options.pattern} zeros are faster only in runtimes with kernels for them (2:4: TensorRT)"
    if unfit:
        names = ", ".join(weight.node_name for weight in unfit[:3]) + (" …" if len(unfit) > 3 else "")
        yield f"{len(unfit)} layers do not split into groups of {options.pattern} along their inputs: {names}"
    quantized = sum("quantized" in reason for reason in left.values())
    if quantized:
        yield f"{quantized} layers have quantized weights, which are left alone: prune before quantizing"
    elif not pruned and not unfit:
        yield "the model holds no float weight that could be pruned"
