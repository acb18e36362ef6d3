"""Where an operator takes and gives half precision, read from its ONNX schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_pare.graph.edit import constant
from onnx_pare.quantization.half_numbers import LARGEST, fits_at

if TYPE_CHECKING:
    import onnx.defs
    import onnx_ir as ir

# Their result has a type of its own, is a choice that rounding may flip, or counts and sums without end.
STAY_FLOAT = frozenset(
    {
        *("Cast", "CastLike", "Constant", "ConstantOfShape", "EyeLike", "Range", "Bernoulli", "Multinomial"),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("ArgMax", "ArgMin", "TopK", "NonMaxSuppression", "Hardmax", "Unique"),
        *("CumSum", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"),
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    }
)
# results of comparisons: 0 and 1 are exact in every type
_LOGIC = frozenset(
    {
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "And", "Or", "Xor"),
        *("IsNaN", "IsInf"),
    }
)
FLOAT32, FLOAT16 = "tensor(float)", "tensor(float16)"


@dataclass(frozen=True)
class Slots:
    """The places of one node that turn half when the node does; all others keep their type."""

    inputs: frozenset[int]
    outputs: frozenset[int]

    def of(self, node: ir.Node) -> list[ir.Value]:
        """Return the values of the node in these places: inputs, then outputs."""
        inputs = [node.inputs[index] for index in sorted(self.inputs)]
        outputs = [node.outputs[index] for index in sorted(self.outputs)]
        return [value for value in (*inputs, *outputs) if value is not None]


def float_tensors(model: ir.Model) -> set[str]:
    """Return the names of the float32 tensors, subgraphs included, as far as shape inference can tell."""
    import onnx.shape_inference
    from onnx import TensorProto

    from onnx_pare.graph.skeleton import graphs
    from onnx_pare.graph.unweighted import unweighted

    found = onnx.shape_inference.infer_shapes(unweighted(model)).graph
    return {
        value.name
        for graph in graphs(found)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    } | {t.name for graph in graphs(found) for t in graph.initializer if t.data_type == TensorProto.FLOAT}


def half_slots(node: ir.Node, version: int, floats: set[str]) -> Slots | None:
    """Return what turns half with the node, None if it cannot compute in half precision.

    An input turns half if it is a float32 tensor whose type the schema leaves open; an output, if its type is
    that of such an input (so the scales of Resize and the statistics of LayerNormalization do not). Constants
    that half cannot hold stay float32 where the schema gives them a type of their own, as for the statistics
    of BatchNormalization. Two operators say their type in an attribute, which changes with the node: Cast (of
    booleans only: 0 and 1 are exact) and ConstantOfShape.

    Args:
        node: The node.
        version: The opset.
        floats: Names of the float32 tensors.
    """
    import onnx.defs

    if node.domain == "" and is_retyped(node):
        return Slots(frozenset(), frozenset({0}))
    if node.domain != "" or node.op_type in STAY_FLOAT or _has_graphs(node):
        return None
    if not onnx.defs.has(node.op_type, max_inclusive_version=version):
        return None
    schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=version)
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    inputs = _letters(node.inputs, schema.inputs, floats)
    outputs = _letters(node.outputs, schema.outputs, floats)
    letters = {letter for letter in inputs.values() if letter in allowed}
    letters -= _unfit_constants(node, inputs, set(outputs.values()))
    if not letters or any(FLOAT16 not in allowed[letter] for letter in letters):
        return None
    return Slots(
        frozenset(index for index, letter in inputs.items() if letter in letters),
        frozenset(index for index, letter in outputs.items() if letter in letters),
    )


def is_retyped(node: ir.Node) -> bool:
    """Return whether an attribute gives the node's float32 output its type, and half would do as well."""
    import onnx_ir as ir

    if node.op_type == "ConstantOfShape":
        content = node.attributes.get("value")
        if content is None:
            return True
        tensor = content.as_tensor()
        return tensor.dtype == ir.DataType.FLOAT and bool(abs(tensor.numpy()).max() <= LARGEST)
    if node.op_type != "Cast" or node.attributes.get_int("to", 0) != ir.DataType.FLOAT:
        return False
    source = node.inputs[0]
    producer = None if source is None else source.producer()
    made = producer is not None and producer.domain == "" and producer.op_type in _LOGIC
    return source is not None and (source.dtype == ir.DataType.BOOL or made)


def _unfit_constants(node: ir.Node, letters: Mapping[int, str], made: set[str]) -> set[str]:
    """Return the type letters that only constants have, and no output, with one that half cannot hold."""
    arrays = {index: constant(node.inputs[index]) for index in letters}
    varying = made | {letters[index] for index, array in arrays.items() if array is None}
    return {
        letters[index]
        for index, array in arrays.items()
        if array is not None and letters[index] not in varying and not fits_at(node, index, array)
    }


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
