"""The pass `quantize_weights`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from onnx_pare.errors import PassError
from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions, register

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.edit import Names
    from onnx_pare.quantization.levels import Levels
    from onnx_pare.quantization.weight_only import Quantized
    from onnx_pare.quantization.weight_plan import Format, Storage
    from onnx_pare.sparsity.prunable import Weight

# a weight is left alone if codes and scales take more than this share of it
WORTH = 0.75
# layers named in the notes
WORST = 5
GAINS: dict[Format, str] = {
    "cast": "onnxruntime restores float weights as it loads: a smaller file, but the same speed and memory",
    "dequantize": "onnxruntime runs DequantizeLinear of weights in every inference, except before MatMul: "
    "slower than float; `format: auto` is not",
    "matmulnbits": "MatMulNBits computes with activations rounded to int8, and only in onnxruntime",
}
CONVOLUTIONS = "4 bits cost convolutions accuracy: check it, or leave them out with skip: ['op:Conv*']"


class Options(PassOptions):
    """Keys of `quantize_weights`."""

    bits: Literal[4, 8] = Field(8, description="bits of a stored weight")
    levels: Literal["uniform", "log"] = Field(
        "uniform",
        description="what codes stand for: whole numbers; or powers of two, in 8 bits sums of two of them",
    )
    block_size: Annotated[int, Field(ge=2)] | Literal["channel"] | None = Field(
        None,
        description="inputs that share a scale, at most; channel: all of an output. "
        "Default: 32 for 4 bits, channel for 8 (128 in MatMulNBits)",
    )
    format: Literal["auto", "cast", "dequantize", "matmulnbits"] = Field(
        "auto",
        description="how weights are restored: Cast and Mul, folded as the model loads; DequantizeLinear; "
        "MatMulNBits where a product allows it; auto: MatMulNBits where faster, else cast",
    )
    min_elements: int = Field(256, ge=1, description="smallest weight that is quantized, in elements")
    skip: list[str] = Field(
        default_factory=list, description="nodes to leave float: globs over names, or op:TYPE"
    )

    @model_validator(mode="after")
    def _agree(self) -> Options:
        from onnx_pare.quantization.nbits import BLOCKS

        if self.levels == "log" and self.format in ("dequantize", "matmulnbits"):
            raise ValueError(f"levels: log cannot be stored as format: {self.format}; use `auto` or `cast`")
        if self.format == "matmulnbits" and self.block_size not in (None, *BLOCKS):
            known = ", ".join(map(str, BLOCKS))
            raise ValueError(f"block_size: format matmulnbits knows {known}, not {self.block_size}")
        return self


@dataclass(frozen=True)
class _Plan:
    """A weight, and how it will be stored."""

    weight: Weight
    storage: Storage


@dataclass(frozen=True)
class _Written:
    """What became of one weight."""

    plan: _Plan
    name: str
    found: Quantized
    saved_bytes: int

    @property
    def sqnr_db(self) -> float:
        from onnx_pare.bench.tally import decibels, json_db

        return json_db(decibels(self.found.signal, self.found.noise)) or 0.0

    def note(self) -> dict[str, Any]:
        return {
            "node": self.plan.weight.node_name,
            "weight": self.name,
            "sqnr_db": self.sqnr_db,
            "format": self.plan.storage.format,
        }


@register
class QuantizeWeights(Pass):
    """Store weights in 8 or 4 bits and compute in float: smaller files without calibration data.

    Weights of Conv, ConvTranspose, Gemm, MatMul, LSTM, GRU and RNN, and the tables of Gather, also those in
    subgraphs. Keeps names, shapes and dtypes of all graph inputs and outputs, biases, and everything that is
    not float32. A model that is quantized already is left alone.
    """

    Options = Options

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Quantize the weights, each by itself.

        Raises:
            UsageError: A selector of `skip` matches no node.
            ModelError: 4 bits need a newer opset, and the model cannot be raised to it.
            PassError: The installed onnxruntime does not compute what `format` or `levels` asks for.
        """
        from onnx_pare.graph.opset import raise_opset
        from onnx_pare.quantization.census import quantized_nodes

        already = sorted({node.op_type for node in quantized_nodes(model)})
        if already:
            said = f"quantize_weights: the model is quantized already ({', '.join(already)}); left alone"
            return Outcome(model, 0, warnings=(said,))
        self._check_runtime()
        skipped = {node.name or "" for node in select(_nodes(model), self.options.skip, "skip")}
        plans, left = _plans(model, self.options, skipped)
        if not plans:
            said = f"quantize_weights: no float32 weight of {self.options.min_elements} elements or more"
            return Outcome(model, 0, {"left_alone": dict(sorted(left.items()))}, (f"{said}; left alone",))
        model = raise_opset(model, max(plan.storage.opset for plan in plans))
        plans, left = _plans(model, self.options, skipped)
        written = list(self._write(model, plans, context))
        return Outcome(model, len(written), _notes(written, left), tuple(_warnings(written, self.options)))

    def _check_runtime(self) -> None:
        from onnx_pare.quantization.nbits import supported
        from onnx_pare.quantization.stored_weights import casts_4_bits

        options, missing = self.options, ""
        if options.format == "matmulnbits" and not supported(options.bits):
            missing = f"has no MatMulNBits of {options.bits} bits"
        cast = options.format == "cast" or options.levels == "log"
        if options.bits == 4 and cast and not casts_4_bits():
            missing = "casts no 4-bit integers"
        if missing:
            hint = "Install a newer onnxruntime, or use format: auto or levels: uniform."
            raise PassError(self.name, f"the installed onnxruntime {missing}", hint=hint)

    def _write(self, model: ir.Model, plans: list[_Plan], context: Context) -> Iterator[_Written]:
        from onnx_pare.graph.edit import Names
        from onnx_pare.quantization.levels import levels_of
        from onnx_pare.quantization.nbits import DOMAIN
        from onnx_pare.quantization.stored_weights import NARROW_IR, NARROW_OPSET
        from onnx_pare.quantization.weight_only import quantize_matrix

        names, levels = Names(model), levels_of(self.options.levels, self.options.bits)
        tables: dict[ir.Graph, ir.Value] = {}
        if any(plan.storage.format == "matmulnbits" for plan in plans):
            model.graph.opset_imports.setdefault(DOMAIN, 1)
        if any(plan.storage.opset >= NARROW_OPSET for plan in plans):
            model.ir_version = max(model.ir_version or 0, NARROW_IR)
        with context.progress.task("quantizing", len(plans)) as advance:
            for plan in plans:
                name, array, storage = plan.weight.value.name or "", plan.weight.read(), plan.storage
                positive = storage.format == "dequantize"
                matrix = storage.layout.flatten(array)
                found = quantize_matrix(matrix, levels, storage.block, positive=positive)
                stored_bytes = _store(plan, found, levels, names, tables)
                yield _Written(plan, name, found, array.nbytes - stored_bytes)
                advance(1)


def _store(
    plan: _Plan, found: Quantized, levels: Levels, names: Names, tables: dict[ir.Graph, ir.Value]
) -> int:
    """Write one weight into its graph and return the bytes it takes."""
    import onnx_ir as ir

    from onnx_pare.quantization.nbits import write_nbits
    from onnx_pare.quantization.stored_weights import write_cast, write_dequantize

    value, graph, storage = plan.weight.value, plan.weight.value.graph, plan.storage
    assert isinstance(graph, ir.Graph)
    if storage.format == "matmulnbits":
        return write_nbits(value, graph, found, levels.bits, names)
    if storage.format == "cast":
        return write_cast(value, graph, storage.layout, found, levels, names, tables)
    return write_dequantize(value, graph, storage.layout, found, levels, names)


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    return (node for graph in model.graphs() for node in graph)


def _plans(model: ir.Model, options: Options, skipped: set[str]) -> tuple[list[_Plan], Counter[str]]:
    """Return how each weight will be stored, and counts of the others by the reason."""
    from onnx_pare.quantization.storable import storable
    from onnx_pare.quantization.stored_weights import Layout
    from onnx_pare.quantization.weight_plan import Wanted, storage_of

    wanted = Wanted(options.bits, options.levels, options.block_size, options.format)
    plans, left = [], Counter[str]()
    for weight in storable(model):
        reason = _reason(weight, options, skipped)
        if reason:
            left[reason] += 1
            continue
        shape = weight.read().shape
        order = weight.matrix_order(len(shape))
        outputs = 1 if weight.nodes[0].op_type in ("Conv", "ConvTranspose") else len(order) - 1
        storage = storage_of(weight.value, Layout(shape, order, outputs), wanted)
        if storage.size_bytes > WORTH * weight.read().nbytes:
            left["codes and scales take as much"] += 1
        else:
            plans.append(_Plan(weight, storage))
    return plans, left


def _reason(weight: Weight, options: Options, skipped: set[str]) -> str:
    """Return why a weight is left alone, or an empty text."""
    import numpy as np

    value, array = weight.value, weight.read()
    if value.is_graph_input() or value.is_graph_output():
        return "an input or output of the model"
    if array.dtype != np.float32:
        return str(array.dtype)
    if any(use.node.name in skipped for use in value.uses()):
        return "skip"
    if array.size < options.min_elements:
        return f"below {options.min_elements} elements"
    return "" if np.isfinite(array).all() else "NaN or infinity"


def _notes(written: list[_Written], left: Counter[str]) -> dict[str, Any]:
    ranked = sorted(written, key=lambda each: each.sqnr_db)
    return {
        "quantized_weights": len(written),
        "saved_bytes": sum(each.saved_bytes for each in written),
        "weight_sqnr_db_mean": sum(each.sqnr_db for each in written) / len(written),
        "weight_sqnr_db_min": ranked[0].sqnr_db,
        "worst": [each.note() for each in ranked[:WORST]],
        "formats": dict(sorted(Counter(each.plan.storage.format for each in written).items())),
        "left_alone": dict(sorted(left.items())),
    }


def _warnings(written: list[_Written], options: Options) -> Iterator[str]:
    for kind in dict.fromkeys(each.plan.storage.format for each in written):
        yield f"quantize_weights: {GAINS[kind]}"
    convolutions = any(each.plan.weight.nodes[0].op_type.startswith("Conv") for each in written)
    if options.bits == 4 and convolutions:
        yield f"quantize_weights: {CONVOLUTIONS}"
