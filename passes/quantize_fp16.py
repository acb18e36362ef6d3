"""The pass `quantize_fp16`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from onnx_pare.errors import ModelError, PassError
from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions, register

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.bench.paired import PairedLatency
    from onnx_pare.quantization.half_convert import Converted
    from onnx_pare.quantization.half_ranges import Ranges

# time spent to measure what half precision does to the speed; slow models take a few runs all the same
TIMING_S = 1.0
ADVICE = "Use storage_only: true, which computes in float32."


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

    Keeps names, shapes and dtypes of all graph inputs and outputs, those of subgraphs too; functions are
    inlined. A model that is quantized or holds half precision already is left alone.
    """

    Options = Options
    calibrates = True

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Convert the main graph and all subgraphs.

        Raises:
            UsageError: A selector of `skip` matches no node.
            DataError: The model does not run on the calibration data.
            ModelError: bf16 needs a newer opset, and the model cannot be raised to it.
            PassError: The types on an edge differ, or onnxruntime refuses the model in half precision,
                whatever is left float32.
        """
        already = _already(model)
        if already:
            return Outcome(model, 0, warnings=(f"quantize_fp16: the model {already}; left alone",))
        if self.options.storage_only:
            return self._store(model, self._skipped(model), context)
        return self._compute(model, context)

    def _skipped(self, model: ir.Model) -> set[str]:
        nodes = select(model.graph.all_nodes(), self.options.skip, "skip")
        return {node.name or "" for node in nodes}

    def _compute(self, model: ir.Model, context: Context) -> Outcome:
        from onnx_pare.quantization.half_convert import ConversionError, Source, settle
        from onnx_pare.quantization.half_masks import soften_masks
        from onnx_pare.quantization.half_slots import float_tensors

        flat = _flat(model)
        masks = soften_masks(flat)
        floats, skipped = float_tensors(flat), self._skipped(flat)
        source = Source(flat, floats, skipped, _ranges(flat, floats, skipped, context), self.options.margin)
        try:
            made = settle(source, context.scratch)
        except ConversionError as error:
            raise PassError(self.name, str(error), hint=ADVICE) from error
        if not made.plan.slots:
            said = "quantize_fp16: no node can compute in float16; left alone"
            return Outcome(model, 0, {"float32_reasons": dict(made.plan.reasons)}, (said,))
        try:
            pair = _timed(model, made.model, context)
        except ModelError as error:
            raise PassError(self.name, error.message, hint=ADVICE) from error
        notes = _notes(made, source.ranges, masks) | {"latency": pair.to_json()}
        return Outcome(made.model, len(made.plan.slots), notes, _warnings(pair))

    def _store(self, model: ir.Model, skipped: set[str], context: Context) -> Outcome:
        import onnx_ir as ir

        from onnx_pare.graph.opset import raise_opset
        from onnx_pare.quantization.half_check import type_conflicts
        from onnx_pare.quantization.half_convert import ConversionError, check_types, refusal
        from onnx_pare.quantization.halves import store_halves

        bf16 = self.options.dtype == "bf16"
        weights = list(_stored(model, skipped, self.options.min_elements, bf16=bf16))
        if not weights:
            said = f"no float32 weight of {self.options.min_elements} elements or more fits; left alone"
            return Outcome(model, 0, warnings=(f"quantize_fp16: {said}",))
        if bf16:
            model = raise_opset(model, 13)
            weights = list(_stored(model, skipped, self.options.min_elements, bf16=bf16))
        flaws = set(type_conflicts(model))
        written = store_halves(model, ir.DataType.BFLOAT16 if bf16 else ir.DataType.FLOAT16, weights)
        try:
            check_types(model, flaws)
        except ConversionError as error:
            raise PassError(self.name, str(error)) from error
        reason = refusal(model, context.scratch)
        if reason:
            raise PassError(self.name, f"onnxruntime does not load the model stored in half: {reason}")
        notes = {
            f"{'b' if bf16 else ''}float16_weights": written.weights,
            "casts": written.casts,
            "saved_bytes": written.saved_bytes,
        }
        return Outcome(model, written.weights, notes)


def _flat(model: ir.Model) -> ir.Model:
    """Return a copy with functions inlined, and names of values and nodes unique across subgraphs."""
    from onnx_pare.graph.flat import flattened
    from onnx_pare.graph.normalize import name_nodes

    flat = flattened(model)
    flat = flat.clone() if flat is model else flat
    name_nodes(flat)
    return flat


def _notes(made: Converted, ranges: Ranges, masks: int) -> dict[str, object]:
    plan, written = made.plan, made.written
    main = made.model.graph
    notes: dict[str, object] = {
        "float16_nodes": len(plan.slots),
        "float16_nodes_in_subgraphs": sum(node.graph is not main for node in plan.slots),
        "float32_nodes": sum(plan.reasons.values()),
        "float32_reasons": dict(sorted(plan.reasons.items())),
        "casts": written.casts,
        "float16_weights": written.weights,
        "saved_bytes": written.saved_bytes,
        "largest_activation": max(ranges.largest.values(), default=0.0),
        "softened_masks": masks,
    }
    if made.refused:
        notes["refused_by_onnxruntime"] = sorted(made.refused)
    return notes


def _timed(before: ir.Model, after: ir.Model, context: Context) -> PairedLatency:
    """Time both on the first sample, briefly: this says how fast half is here, and changes nothing."""
    from onnx_pare.bench.paired import measure_pair
    from onnx_pare.graph.runnable import runnable
    from onnx_pare.graph.save import write_model

    with tempfile.TemporaryDirectory(dir=context.scratch) as folder:
        paths = Path(folder) / "float32.onnx", Path(folder) / "float16.onnx"
        for model, path in zip((before, after), paths, strict=True):
            write_model(model, path)
        first, second = (runnable(path, Path(folder)) for path in paths)
        feeds = next(iter(context.samples))
        return measure_pair(
            first, second, feeds, threads=context.threads, budget_s=TIMING_S, seed=context.seed
        )


def _warnings(pair: PairedLatency) -> tuple[str, ...]:
    """Say it plainly if half precision is slower on this machine, or no faster, as measured just now."""
    import onnxruntime as ort

    from onnx_pare.hw_profiles.cpu import features

    low, high = pair.interval
    if low > 1:
        return ()
    cpu = features()
    arithmetic = {"x86": "AVX512-FP16", "arm": "FP16"}.get(cpu.family, "")
    lacks = f" without fp16 arithmetic ({arithmetic})" if cpu.has(arithmetic) is False else ""
    return (
        f"quantize_fp16: {'SLOWER' if high < 1 else 'no faster'} in float16 on this machine: "
        f"{pair.before.median_ms:.3g} ms in float32, {pair.after.median_ms:.3g} ms in float16, speed-up "
        f"{pair.speedup:.2f} [{low:.2f}, {high:.2f}] (measured: onnxruntime {ort.__version__}, "
        f"{cpu.name}{lacks}, threads: {pair.threads}); "
        "storage_only: true gives the same size at the speed of float32",
    )


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
        value.dtype
        for value in (*model.graph.inputs, *(v for node in model.graph.all_nodes() for v in node.outputs))
    ]
    cast = [node.attributes.get_int("to", 0) for node in model.graph.all_nodes() if node.op_type == "Cast"]
    if any(dtype in halves for dtype in (*made, *cast, *(tensor.dtype for tensor in tensors(model)))):
        return "holds half precision already"
    return ""


def _ranges(model: ir.Model, floats: set[str], skipped: set[str], context: Context) -> Ranges:
    """Return what the calibration samples show of every activation that may turn half."""
    from onnx_pare.quantization.half_plan import capable
    from onnx_pare.quantization.half_probes import probed
    from onnx_pare.quantization.half_ranges import Reach, seen, small_matters

    plan = capable(model, floats, skipped)
    copy, shown = probed(model, plan.activations())
    small = small_matters(plan)
    # a probe shows both magnitudes at once
    reaches = {name: Reach(name in small or name != place) for name, place in shown.items()}
    context.observe(copy, {shown[name]: reach for name, reach in reaches.items()})
    return seen(reaches)


def _stored(model: ir.Model, skipped: set[str], min_elements: int, *, bf16: bool) -> Iterator[ir.Value]:
    """Yield the float32 weights of the main graph that are stored in half."""
    import onnx_ir as ir

    from onnx_pare.graph.edit import constant
    from onnx_pare.quantization.half_numbers import fits

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
