"""Rewriting a graph to half precision: weights, types, and one Cast wherever the two meet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_pare.graph.edit import Names, add_initializer, add_tensor, constant, set_constant
from onnx_pare.quantization.half_numbers import half_of
from onnx_pare.quantization.half_plan import Plan, casts, float_uses, is_half
from onnx_pare.quantization.half_slots import is_retyped

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass
class Written:
    """What a rewrite did.

    Attributes:
        weights: Weights that are half now.
        saved_bytes: How much smaller they are.
        casts: Cast nodes inserted.
    """

    weights: int = 0
    saved_bytes: int = 0
    casts: int = 0


def write_halves(model: ir.Model, plan: Plan) -> Written:
    """Turn the nodes of the plan to float16, in place.

    The graph's inputs and outputs keep their names and types; a value inside that both kinds of node read
    gets exactly one Cast.
    """
    import onnx_ir as ir

    written, names = Written(), Names(model)
    for node in plan.slots:
        if is_retyped(node):
            _retype_attribute(node)
    values = plan.values()
    needing = [value for value in values if casts(value, plan)]
    made_half = [value for value in values if constant(value) is None and is_half(value, plan)]
    for value in values:
        if constant(value) is not None:
            _halve_constant(model.graph, value, plan, names, written)
    for value in needing:
        if is_half(value, plan):
            _cast_back(model, value, float_uses(value, plan), names)
        else:
            uses = [(use.node, use.idx) for use in value.uses()]
            reading = [use for use in uses if use not in float_uses(value, plan)]
            half = _cast(value, ir.DataType.FLOAT16, names.new(f"{value.name}_fp16"), names)
            _redirect(reading, half)
        written.casts += 1
    for value in made_half:
        if value.type is not None:
            _retype(value, ir.DataType.FLOAT16)
    return written


def store_halves(model: ir.Model, dtype: ir.DataType, values: Iterable[ir.Value]) -> Written:
    """Store weights in `dtype` and cast them to float32 where they are read, in place.

    They are rounded when they are written, one at a time.

    Args:
        model: The model.
        dtype: FLOAT16 or BFLOAT16.
        values: Float32 initializers and outputs of Constant nodes, all of the main graph, none of them among
            its inputs or outputs.
    """
    import onnx_ir as ir

    written, names = Written(), Names(model)
    suffix = "fp16" if dtype == ir.DataType.FLOAT16 else "bf16"
    for value in list(values):
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is None:
            continue
        stored = _rounded(tensor, dtype, names.new(f"{value.name}_{suffix}"))
        half = add_tensor(model.graph, stored)
        uses = [(use.node, use.idx) for use in value.uses()]
        producer = value.producer()
        restored = _cast(half, ir.DataType.FLOAT, value.name or "", names)
        _redirect(uses, restored)
        if producer is None:
            model.graph.initializers.pop(value.name or "")
        else:
            model.graph.remove(producer, safe=True)
        written.weights += 1
        written.casts += 1
        written.saved_bytes += tensor.nbytes - stored.nbytes
    return written


def _rounded(tensor: ir.TensorProtocol, dtype: ir.DataType, name: str) -> ir.LazyTensor:
    import onnx_ir as ir

    def round_now() -> ir.TensorProtocol:
        return ir.tensor(tensor.numpy().astype(dtype.numpy()), name=name)

    return ir.LazyTensor(round_now, dtype, ir.Shape(tensor.shape.numpy()), name=name)


def _retype(value: ir.Value, dtype: ir.DataType) -> None:
    """Give a value another element type; clones of a model share the type objects, so it gets a new one."""
    import onnx_ir as ir

    value.type = ir.TensorType(dtype)


def _retype_attribute(node: ir.Node) -> None:
    """Turn a Cast to float32, or a ConstantOfShape of one, to half."""
    import numpy as np
    import onnx_ir as ir

    if node.op_type == "Cast":
        node.attributes["to"] = ir.AttrInt64("to", int(ir.DataType.FLOAT16))
        return
    given = node.attributes.get("value")
    content = np.zeros(1, np.float32) if given is None else given.as_tensor().numpy()
    half = half_of(content, [(use.node, use.idx) for use in node.outputs[0].uses()])
    node.attributes["value"] = ir.AttrTensor("value", ir.tensor(half))


def _halve_constant(graph: ir.Graph, value: ir.Value, plan: Plan, names: Names, written: Written) -> None:
    """Turn a weight half in place; if float32 nodes read it too, they keep it and the others get a copy."""
    array = constant(value)
    assert array is not None
    kept = float_uses(value, plan)
    uses = [use for use in ((use.node, use.idx) for use in value.uses()) if use not in kept]
    half = half_of(array, uses)
    written.weights += 1
    if kept or value.is_graph_output():
        _redirect(uses, add_initializer(graph, names.new(f"{value.name}_fp16"), half))
        written.saved_bytes -= half.nbytes
        return
    set_constant(value, half)
    written.saved_bytes += array.nbytes - half.nbytes


def _cast_back(model: ir.Model, value: ir.Value, uses: list[tuple[ir.Node, int]], names: Names) -> None:
    """Give a value that is half now a float32 twin, which takes over its name if it is a graph output."""
    import onnx_ir as ir

    name = value.name or ""
    if not value.is_graph_output():
        _redirect(uses, _cast(value, ir.DataType.FLOAT, names.new(f"{name}_fp32"), names))
        return
    value.name = names.new(f"{name}_fp16")
    full = _cast(value, ir.DataType.FLOAT, name, names)
    _redirect(uses, full)
    for graph in model.graphs():
        for index, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[index] = full


def _cast(value: ir.Value, dtype: ir.DataType, name: str, names: Names) -> ir.Value:
    """Insert a Cast right behind the value's producer, and return what it makes."""
    import onnx_ir as ir

    shape = None if value.shape is None else value.shape.copy()
    made = ir.Value(name=name, shape=shape, type=ir.TensorType(dtype))
    node = ir.Node(
        "",
        "Cast",
        [value],
        [ir.AttrInt64("to", int(dtype))],
        outputs=[made],
        name=names.new(f"{value.name}_to_{'fp32' if dtype == ir.DataType.FLOAT else 'fp16'}"),
    )
    producer, graph = value.producer(), value.graph
    assert graph is not None
    if producer is None:
        graph.insert_before(graph[0], node)
    else:
        graph.insert_after(producer, node)
    return made


def _redirect(uses: Iterable[tuple[ir.Node, int]], value: ir.Value) -> None:
    for node, index in uses:
        node.replace_input_with(index, value)
