"""Where an operator takes and gives half precision, read from its ONNX schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx.defs
    import onnx_ir as ir

# Their result has a type of its own, is a choice that rounding may flip, or counts and sums without end.
STAY_FLOAT = frozenset(
    {
        *("Cast", "CastLike", "Constant", "ConstantOfShape", "EyeLike", "Range", "Bernoulli", "Multinomial"),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("ArgMax", "ArgMin", "TopK", "NonMaxSuppression", "Hardmax", "Unique"),
        *("CumSum", "ReduceSumSquare", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"),
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    }
)
FLOAT32, FLOAT16 = "tensor(float)", "tensor(float16)"


@dataclass(frozen=True)
class Slots:
    """The places of one node that turn half when the node does; all others keep their type."""

    inputs: frozenset[int]
    outputs: frozenset[int]


def float_tensors(model: ir.Model) -> set[str]:
    """Return the names of the main graph's float32 tensors, as far as shape inference can tell."""
    import onnx.shape_inference
    from onnx import TensorProto

    from onnx_pare.graph.unweighted import unweighted

    graph = onnx.shape_inference.infer_shapes(unweighted(model)).graph
    return {
        value.name
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }


def half_slots(node: ir.Node, version: int, floats: set[str]) -> Slots | None:
    """Return what turns half with the node, None if it cannot compute in half precision.

    An input turns half if it is a float32 tensor whose type the schema leaves open; an output, if its type is
    that of such an input (so the scales of Resize and the statistics of LayerNormalization do not).

    Args:
        node: A node of the main graph.
        version: The opset.
        floats: Names of the float32 tensors.
    """
    import onnx.defs

    if node.domain != "" or node.op_type in STAY_FLOAT or _has_graphs(node):
        return None
    if not onnx.defs.has(node.op_type, max_inclusive_version=version):
        return None
    schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=version)
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    inputs = _letters(node.inputs, schema.inputs, floats)
    letters = {letter for letter in inputs.values() if letter in allowed}
    if not letters or any(FLOAT16 not in allowed[letter] for letter in letters):
        return None
    outputs = _letters(node.outputs, schema.outputs, floats)
    return Slots(
        frozenset(index for index, letter in inputs.items() if letter in letters),
        frozenset(index for index, letter in outputs.items() if letter in letters),
    )


def _letters(
    values: Sequence[ir.Value | None],
    parameters: Sequence[onnx.defs.OpSchema.FormalParameter],
    floats: set[str],
) -> Mapping[int, str]:
    """Return the schema's type letter (`T`) of each float32 value; the last parameter may be variadic."""
    last = len(parameters) - 1
    return {
        index: parameters[min(index, last)].type_str
        for index, value in enumerate(values)
        if value is not None and value.name in floats
    }


def _has_graphs(node: ir.Node) -> bool:
    import onnx_ir as ir

    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attributes.values())
