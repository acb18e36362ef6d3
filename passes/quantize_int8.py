"""The pass `quantize_int8`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions, register

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.quantization.dynamic import Plan
    from onnx_pare.quantization.static import Means, Wish

# scales per channel came with opset 13, integers of 16 bits with 21
OPSET, OPSET_16 = 13, 21
# below an error of a tenth of the signal, classifiers keep their accuracy within some tenths of a point
USUAL_SQNR_DB = 20.0
Switch = bool | Literal["auto"]


class Options(PassOptions):
    """Keys of `quantize_int8`; those marked (static) do nothing under `mode: dynamic`."""

    mode: Literal["static", "dynamic"] = Field(
        "static", description="static: calibrated activations; dynamic: activations measured at run time"
    )
    calibration: Literal["auto", "minmax", "percentile", "mse", "entropy"] = Field(
        "auto",
        description="how the range of an activation is chosen (static); auto: by its error, tensor by tensor",
    )
    percentile: float = Field(
        99.99,
        gt=50,
        le=100,
        description="share of the values inside the range, in %, for calibration: percentile",
    )
    activations: Literal["uint8", "int8", "uint16", "int16"] = Field(
        "uint8", description="what activations are held in (static); 16 bits are for other runtimes"
    )
    per_channel: Switch = Field(
        "auto",
        description="one weight scale per output channel, not one per tensor; auto: by error, layer by layer",
    )
    equalize: bool = Field(True, description="scale channels up that use few levels, where it helps (static)")
    round: Literal["adaptive", "nearest"] = Field(
        "adaptive", description="adaptive: round weights for least error of the layer's output (static)"
    )
    clip_weights: bool = Field(True, description="choose weight scales by the error they cause (static)")
    correct_bias: bool = Field(
        True, description="add to biases what rounding takes from outputs on average (static)"
    )
    reduce_range: Switch = Field(
        "auto",
        description="weights of 7 bits, which cannot saturate without an 8-bit dot product; auto: where this"
        " CPU has none (static)",
    )
    select: Literal["auto", "all", "measured", "predicted"] = Field(
        "auto",
        description="what runs in integers: all that can, or what is timed or predicted to be faster; auto:"
        " predicted where this CPU's kernel times are known, then timed against float (static)",
    )
    min_sqnr_db: float | Literal["auto"] | None = Field(
        "auto",
        description=f"outputs' SQNR at least: layers that harm most stay float; auto: {USUAL_SQNR_DB:g} where"
        " the model remains faster than float (static)",
    )
    max_top1_drop: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of samples whose top-1 may change: layers that harm most stay float (static)",
    )
    time_budget_s: float = Field(
        60.0, gt=0, description="time at most, roughly, for each of timing and ranking layers (static)"
    )
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
        from onnx_pare.graph.normalize import name_nodes
        from onnx_pare.graph.opset import raise_opset
        from onnx_pare.quantization.placement import place
        from onnx_pare.quantization.preactivation import norms_as_convolutions
        from onnx_pare.quantization.static import quantize

        if not place(model.graph, skipped).axes:
            return Outcome(model, 0, warnings=(_nothing_to_do(model, "Conv, Gemm or MatMul"),))
        ready = model.clone()
        name_nodes(ready)
        left_out = {id(node) for node in skipped}
        pairs = zip(model.graph, ready.graph, strict=True)
        names = frozenset(named.name or "" for node, named in pairs if id(node) in left_out)
        ready = raise_opset(ready, OPSET_16 if self._wide() else OPSET)
        folded = fold_batch_norms(ready)  # a BatchNormalization between Conv and Relu would stay float
        baseline = ready.clone()
        converted = norms_as_convolutions(ready)
        found = quantize(ready, baseline, self._wish(names), self._means(context))
        warnings = tuple(f"quantize_int8: {said}" for said in (*found.warnings, *self._said()))
        if found.model is None:
            return Outcome(model, 0, found.notes, (*warnings, f"quantize_int8: {_instead(model)}"))
        notes = {
            **found.notes,
            "folded_batch_norms": folded,
            "batch_norms_as_convolutions": converted,
            **self._risk(found.model),
            **self._formatted(found.model),
            **_left_in_subgraphs(found.model),
        }
        return Outcome(found.model, found.integer_nodes, notes, warnings)

    def _wish(self, skipped: frozenset[str]) -> Wish:
        from onnx_pare.quantization.affine import REDUCED_LIMIT, WEIGHT_LIMIT
        from onnx_pare.quantization.draft import Manner
        from onnx_pare.quantization.layers import Layers
        from onnx_pare.quantization.sensitivity import Limit
        from onnx_pare.quantization.static import Wish

        options = self.options
        layers = Layers(
            per_channel=options.per_channel,
            limit=REDUCED_LIMIT if self._reduced() else WEIGHT_LIMIT,
            clip=options.clip_weights,
            adaptive=options.round == "adaptive",
            correct=options.correct_bias,
        )
        floor = USUAL_SQNR_DB if options.min_sqnr_db == "auto" else options.min_sqnr_db
        return Wish(
            manner=Manner(options.calibration, options.percentile, options.activations, layers),
            equalize=options.equalize,
            select="all" if self._wide() else options.select,
            limit=Limit(floor, options.max_top1_drop),
            strict=options.min_sqnr_db != "auto" or options.max_top1_drop is not None,
            skipped=skipped,
            budget_s=options.time_budget_s,
        )

    def _means(self, context: Context) -> Means:
        from onnx_pare.quantization.static import Means

        return Means(
            context.samples,
            context.observe_over,
            context.scratch,
            context.threads,
            context.seed,
            context.progress,
        )

    def _wide(self) -> bool:
        return bool(self.options.activations.endswith("16"))

    def _said(self) -> tuple[str, ...]:
        """Return what the options themselves call for saying."""
        if not self._wide():
            return ()
        return (f"{self.options.activations} activations: onnxruntime's CPU has no kernels for them",)

    def _reduced(self) -> bool:
        """Tell whether weights get 7 bits."""
        from onnx_pare.hw_profiles.cpu import features

        if self.options.reduce_range == "auto":
            return features().saturates() is True
        return bool(self.options.reduce_range)

    def _risk(self, model: ir.Model) -> dict[str, int]:
        """Return how many layers kernels that add in 16 bits can get wrong, by their weights."""
        from onnx_pare.quantization.saturation import layers_at_risk

        return {"layers_that_saturate_without_dot_product": layers_at_risk(model)}

    def _formatted(self, model: ir.Model) -> dict[str, Any]:
        """Turn Q/DQ pairs into integer operators if asked to, and return the notes about it."""
        from onnx_pare.quantization.qoperator import to_qoperator

        if self.options.format == "qdq":
            return {}
        made = to_qoperator(model)
        left = {"left_as_pairs": dict(sorted(made.left.items()))} if made.left else {}
        return {"integer_operators": dict(sorted(made.kernels.items())), **left}

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
        saved_bytes = quantize_dynamic(model, plan, per_channel=bool(self.options.per_channel))
        notes = {
            "integer_operators": dict(sorted(plan.kernels().items())),
            "stored_as_int8": dict(sorted(plan.stored().items())),
            "float32_reasons": dict(sorted(plan.reasons.items())),
            "saved_bytes": saved_bytes,
        }
        return Outcome(model, len(plan.nodes), notes)


def _instead(model: ir.Model) -> str:
    """Return what a user can do about a model that static int8 does not make faster."""
    dynamic = {"LSTM", "MatMul", "Attention"} & {node.op_type for node in model.graph}
    other = f"mode: dynamic may be faster ({', '.join(sorted(dynamic))}), and " if dynamic else ""
    return f"{other}select: all makes the file smaller all the same"


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
