"""The pass `quantize_int8`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions, register

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.quantization.affine import Affine
    from onnx_pare.quantization.dynamic import Plan
    from onnx_pare.quantization.placement import Placement

# scales per channel came with opset 13
OPSET = 13
Calibration = Literal["minmax", "percentile"]


class Options(PassOptions):
    """Keys of `quantize_int8`."""

    mode: Literal["static", "dynamic"] = Field(
        "static", description="static: calibrated activations; dynamic: activations measured at run time"
    )
    calibration: Calibration = Field(
        "minmax", description="how the range of an activation is chosen (static)"
    )
    percentile: float = Field(
        99.99,
        gt=50,
        le=100,
        description="share of the values inside the range, in %, for calibration: percentile",
    )
    per_channel: bool = Field(True, description="one weight scale per output channel, not one per tensor")
    format: Literal["qdq", "qoperator"] = Field(
        "qdq",
        description="qdq: float operators between Q/DQ pairs; qoperator: integer operators (static)",
    )
    skip: list[str] = Field(
        default_factory=list, description="nodes to leave float: globs over names, or op:TYPE"
    )

    @model_validator(mode="after")
    def _written(self) -> Options:
        if self.format == "qoperator" and self.mode == "dynamic":
            raise ValueError("format: qoperator needs mode: static (dynamic writes integer operators anyway)")
        return self


@register
class QuantizeInt8(Pass):
    """Quantize Conv, Gemm, MatMul and recurrent nets to int8, where onnxruntime runs integer kernels.

    Weights become int8 around zero, activations uint8, biases int32. Keeps names, shapes and dtypes of all
    graph inputs and outputs. A model that is quantized already is left alone; so are, under static, nodes
    inside subgraphs.
    """

    Options = Options
    calibrates = True

    def reads_samples(self) -> bool:
        """Dynamic quantization does without."""
        return bool(self.options.mode == "static")

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Quantize the main graph.

        Raises:
            UsageError: A selector of `skip` matches no node.
            DataError: The model does not run on the calibration data.
        """
        from onnx_pare.quantization.census import quantized_nodes

        already = quantized_nodes(model)
        if already:
            sample = ", ".join(sorted({node.op_type for node in already}))
            return Outcome(
                model, 0, warnings=(f"quantize_int8: the model is quantized already ({sample}); left alone",)
            )
        if self.options.mode == "dynamic":
            return self._dynamic(model)
        skipped = select(model.graph, self.options.skip, "skip")
        return self._static(model, skipped, context)

    def _static(self, model: ir.Model, skipped: set[ir.Node], context: Context) -> Outcome:
        from onnx_pare.graph.batchnorm import fold_batch_norms
        from onnx_pare.graph.opset import raise_opset
        from onnx_pare.quantization.placement import place
        from onnx_pare.quantization.qdq import insert

        if not place(model.graph, skipped).axes:
            return Outcome(model, 0, warnings=(_nothing_to_do(model, "Conv, Gemm or MatMul"),))
        names = {node.name for node in skipped}
        model = raise_opset(model, OPSET)
        folded = fold_batch_norms(model)  # a BatchNormalization between Conv and Relu would stay float
        placement = place(model.graph, [node for node in model.graph if node.name in names])
        affines = self._calibrate(model, placement, context)
        insert(model, placement, affines, per_channel=self.options.per_channel)
        notes = {
            "calibration": self.options.calibration,
            "integer_nodes": len(placement),
            "quantized_weights": len(placement.axes),
            "quantized_tensors": len(placement.owner),
            "folded_batch_norms": folded,
            **self._formatted(model),
            **_left_in_subgraphs(model),
        }
        return Outcome(model, len(placement), notes)

    def _formatted(self, model: ir.Model) -> dict[str, Any]:
        """Turn Q/DQ pairs into integer operators if asked to, and return the notes about it."""
        from onnx_pare.quantization.qoperator import to_qoperator

        if self.options.format == "qdq":
            return {}
        made = to_qoperator(model)
        left = {"left_as_pairs": dict(sorted(made.left.items()))} if made.left else {}
        return {"integer_operators": dict(sorted(made.kernels.items())), **left}

    def _calibrate(self, model: ir.Model, placement: Placement, context: Context) -> dict[ir.Value, Affine]:
        from onnx_pare.calibration.observers import Histogram, MinMax
        from onnx_pare.quantization.affine import activation_affine

        owners = list(dict.fromkeys(placement.owner.values()))
        make: type[Any] = Histogram if self.options.calibration == "percentile" else MinMax
        observers: dict[str, Any] = {value.name or "": make() for value in owners}
        context.observe(model, observers)
        percentile = (self.options.percentile,) if make is Histogram else ()
        return {value: activation_affine(*observers[value.name or ""].range(*percentile)) for value in owners}

    def _dynamic(self, model: ir.Model) -> Outcome:
        """Quantize the main graph and its subgraphs without data."""
        from onnx_pare.graph.opset import raise_opset
        from onnx_pare.quantization.dynamic import nodes, plan_dynamic, quantize_dynamic

        names = {node.name for node in select(nodes(model), self.options.skip, "skip")}

        def planned(model: ir.Model) -> Plan:
            return plan_dynamic(model, {node for node in nodes(model) if node.name in names})

        plan = planned(model)
        if not plan.nodes:
            said = "no Gemm, MatMul, Attention or recurrent net with constant float32 weights; left alone"
            reasons = {"float32_reasons": dict(sorted(plan.reasons.items()))}
            return Outcome(model, 0, reasons, (f"quantize_int8: {said}",))
        model = raise_opset(model, OPSET)
        plan = planned(model)
        saved_bytes = quantize_dynamic(model, plan, per_channel=self.options.per_channel)
        notes = {
            "integer_operators": dict(sorted(plan.kernels().items())),
            "stored_as_int8": dict(sorted(plan.stored().items())),
            "float32_reasons": dict(sorted(plan.reasons.items())),
            "saved_bytes": saved_bytes,
        }
        return Outcome(model, len(plan.nodes), notes)


def _nothing_to_do(model: ir.Model, kinds: str) -> str:
    inside = _left_in_subgraphs(model)
    where = " outside subgraphs" if inside else ""
    return f"quantize_int8: no {kinds} with constant float32 weights{where}; left alone"


def _left_in_subgraphs(model: ir.Model) -> dict[str, int]:
    """Count the quantizable nodes inside subgraphs and functions, which stay float."""
    from onnx_pare.quantization.kernels import weight_axis

    graphs = [graph for graph in model.graphs() if graph is not model.graph]
    bodies = [*graphs, *model.functions.values()]
    count = sum(1 for body in bodies for node in body if weight_axis(node) is not None)
    return {"float_in_subgraphs": count} if count else {}
