"""The pass `quantize_fp16`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from onnx_pare.errors import PassError
from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions, register

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.quantization.half_plan import Plan
    from onnx_pare.quantization.halves import Written

# operators that onnxruntime may refuse one after the other before the pass gives up
MAX_REFUSALS = 8
SLOW = "onnxruntime's CPU has few float16 kernels: the file is smaller, but on most CPUs it runs no faster"


class Options(PassOptions):
    """Keys of `quantize_fp16`."""

    dtype: Literal["fp16", "bf16"] = Field(
        "fp16", description="fp16: 11 bits of precision; bf16: 8 bits, the range of float32 (storage_only)"
    )
    storage_only: bool = Field(
        False, description="store weights in half, compute in float32: half the file, same speed everywhere"
    )
    skip: list[str] = Field(
        default_factory=list, description="nodes to leave float32: globs over names, or op:TYPE"
    )
    margin: float = Field(
        2.0, ge=1, le=1000, description="how much larger than on the calibration data an activation may get"
    )
    min_elements: int = Field(
        64, ge=1, description="smallest weight that is stored in half (storage_only), in elements"
    )

    @model_validator(mode="after")
    def _storage(self) -> Options:
        if self.dtype == "bf16" and not self.storage_only:
            raise ValueError(
                "dtype: bf16 needs storage_only: true (onnxruntime's CPU computes nothing in bf16)"
            )
        return self


@register
class QuantizeFp16(Pass):
    """Compute in float16 where operators, weights and calibrated activations allow it, or only store it so.

    Keeps names, shapes and dtypes of all graph inputs and outputs; control flow and what happens inside it
    stays float32. A model that is quantized or holds half precision already is left alone.
    """

    Options = Options
    calibrates = True

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Convert the main graph.

        Raises:
            UsageError: A selector of `skip` matches no node.
            DataError: The model does not run on the calibration data.
            ModelError: bf16 needs a newer opset, and the model cannot be raised to it.
            PassError: onnxruntime refuses the model in half precision, whatever is left float32.
        """
        already = _already(model)
        if already:
            return Outcome(model, 0, warnings=(f"quantize_fp16: the model {already}; left alone",))
        skipped = {node.name or "" for node in select(model.graph, self.options.skip, "skip")}
        if self.options.storage_only:
            return self._store(model, skipped)
        return self._compute(model, skipped, context)

    def _compute(self, model: ir.Model, skipped: set[str], context: Context) -> Outcome:
        from onnx_pare.quantization.half_plan import capable
        from onnx_pare.quantization.half_slots import float_tensors

        source = _Source(model, float_tensors(model), skipped)
        every = capable(model, source.floats, source.chosen(model))
        largest = _largest(model, every, context)
        refused: frozenset[str] = frozenset()
        for _ in range(MAX_REFUSALS):
            made = _convert(source, refused, largest, self.options.margin)
            if not made.plan.slots:
                said = "quantize_fp16: no node can compute in float16; left alone"
                return Outcome(model, 0, {"float32_reasons": dict(made.plan.reasons)}, (said,))
            reason = _refusal(made.model, context.scratch)
            if not reason:
                return _outcome(made, largest, refused)
            operators = {node.op_type for node in made.plan.slots}
            culprit = _blamed(reason, operators)
            if culprit is None:
                culprit = self._culprit(source, refused, largest, operators, context)
            if culprit is None:
                break
            refused |= {culprit}
        raise PassError(
            self.name,
            f"onnxruntime does not load the model in float16: {reason}",
            hint="Use storage_only: true, which computes in float32.",
        )

    def _culprit(
        self,
        source: _Source,
        refused: frozenset[str],
        largest: Mapping[str, float],
        operators: set[str],
        context: Context,
    ) -> str | None:
        """Find by trial an operator without which the model loads: a crash leaves no message to read."""
        from onnx_pare.quantization.half_plan import HEAVY

        for operator in sorted(operators, key=lambda operator: (operator in HEAVY, operator)):
            made = _convert(source, refused | {operator}, largest, self.options.margin)
            if not _refusal(made.model, context.scratch):
                return operator
        return None

    def _store(self, model: ir.Model, skipped: set[str]) -> Outcome:
        import onnx_ir as ir

        from onnx_pare.graph.opset import raise_opset
        from onnx_pare.quantization.halves import store_halves

        bf16 = self.options.dtype == "bf16"
        if not list(_stored(model, skipped, self.options.min_elements, bf16=bf16)):
            said = f"no float32 weight of {self.options.min_elements} elements or more fits; left alone"
            return Outcome(model, 0, warnings=(f"quantize_fp16: {said}",))
        model = raise_opset(model, 13) if bf16 else model
        weights = list(_stored(model, skipped, self.options.min_elements, bf16=bf16))
        written = store_halves(model, ir.DataType.BFLOAT16 if bf16 else ir.DataType.FLOAT16, weights)
        notes = {
            f"{'b' if bf16 else ''}float16_weights": written.weights,
            "casts": written.casts,
            "saved_bytes": written.saved_bytes,
        }
        return Outcome(model, written.weights, notes)


@dataclass(frozen=True)
class _Source:
    """The model to convert, the names of its float32 tensors, and of the nodes to leave alone."""

    model: ir.Model
    floats: set[str]
    skipped: set[str]

    def chosen(self, model: ir.Model) -> set[ir.Node]:
        return {node for node in model.graph if node.name in self.skipped}


@dataclass(frozen=True)
class _Converted:
    model: ir.Model
    plan: Plan
    written: Written


def _convert(
    source: _Source, refused: frozenset[str], largest: Mapping[str, float], margin: float
) -> _Converted:
    """Return a converted copy of the model, with all nodes of the refused operators left float32."""
    from onnx_pare.quantization.half_plan import capable, fit
    from onnx_pare.quantization.halves import write_halves

    model = source.model.clone()
    plan = capable(model, source.floats, source.chosen(model), refused)
    fit(plan, largest, margin)
    return _Converted(model, plan, write_halves(model, plan))


def _outcome(made: _Converted, largest: Mapping[str, float], refused: frozenset[str]) -> Outcome:
    plan, written = made.plan, made.written
    notes: dict[str, object] = {
        "float16_nodes": len(plan.slots),
        "float32_nodes": sum(plan.reasons.values()),
        "float32_reasons": dict(sorted(plan.reasons.items())),
        "casts": written.casts,
        "float16_weights": written.weights,
        "saved_bytes": written.saved_bytes,
        "largest_activation": max(largest.values(), default=0.0),
    }
    if refused:
        notes["refused_by_onnxruntime"] = sorted(refused)
    return Outcome(made.model, len(plan.slots), notes, (f"quantize_fp16: {SLOW}",))


def _already(model: ir.Model) -> str:
    """Return what keeps the pass from a model that is in low precision already, or an empty text."""
    import onnx_ir as ir

    from onnx_pare.graph.save import tensors
    from onnx_pare.quantization.census import quantized_nodes

    quantized = quantized_nodes(model)
    if quantized:
        return f"is quantized already ({', '.join(sorted({node.op_type for node in quantized}))})"
    halves = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    made = [
        value.dtype for value in (*model.graph.inputs, *(v for node in model.graph for v in node.outputs))
    ]
    cast = [node.attributes.get_int("to", 0) for node in model.graph if node.op_type == "Cast"]
    if any(dtype in halves for dtype in (*made, *cast, *(tensor.dtype for tensor in tensors(model)))):
        return "holds half precision already"
    return ""


def _largest(model: ir.Model, plan: Plan, context: Context) -> dict[str, float]:
    """Return the largest magnitude of every activation that may turn half, over the calibration samples."""
    from onnx_pare.calibration.observers import MinMax

    observers = {value.name or "": MinMax() for value in plan.activations()}
    context.observe(model, observers)
    return {name: max(-observer.low, observer.high) for name, observer in observers.items()}


def _stored(model: ir.Model, skipped: set[str], min_elements: int, *, bf16: bool) -> Iterator[ir.Value]:
    """Yield the float32 weights of the main graph that are stored in half."""
    import onnx_ir as ir

    from onnx_pare.graph.edit import constant
    from onnx_pare.quantization.half_plan import fits

    constants = [node.outputs[0] for node in model.graph if node.op_type == "Constant"]
    for value in (*model.graph.initializers.values(), *constants):
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < min_elements:
            continue
        if value.is_graph_output() or any(use.node.name in skipped for use in value.uses()):
            continue
        array = constant(value)
        if array is not None and value.uses() and (bf16 or fits(array)):
            yield value


def _refusal(model: ir.Model, scratch: Path) -> str:
    """Return why onnxruntime does not load the model, or an empty text."""
    from onnx_pare.graph.save import write_model
    from onnx_pare.graph.trial import refusal

    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "half.onnx"
        write_model(model, path)
        return refusal(path)


def _blamed(message: str, operators: set[str]) -> str | None:
    """Return the operator that a message of onnxruntime blames, if it is one of those given."""
    return next((word for word in re.findall(r"\w+", message) if word in operators), None)
