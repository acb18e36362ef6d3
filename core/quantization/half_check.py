"""Checking the element type of every edge of a graph against what its nodes make and take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from onnx_pare.graph.skeleton import subgraphs
from onnx_pare.graph.unweighted import unweighted

if TYPE_CHECKING:
    import onnx
    import onnx.defs
    import onnx_ir as ir

    Types = Mapping[str, int]


def type_conflicts(model: ir.Model) -> list[str]:
    """Return what is wrong with the types, one sentence each that names edge and node; nothing if all fit.

    The types are inferred anew, without what the model declares. Every value must come out as declared;
    every input and output of a node must be of a type that the operator's schema allows there, the same one
    wherever the schema has the same letter. Values whose type nothing tells (operators of other domains)
    count as declared. Subgraphs are checked as well.
    """
    import onnx.shape_inference

    proto = unweighted(model)
    declared = onnx.ModelProto()
    declared.CopyFrom(proto)
    _forget(proto.graph)
    inferred = onnx.shape_inference.infer_shapes(proto)
    versions = {opset.domain: opset.version for opset in proto.opset_import}
    return list(_conflicts(inferred.graph, declared.graph, versions, {}))


def _forget(graph: onnx.GraphProto) -> None:
    """Remove the types of everything that nodes make."""
    del graph.value_info[:]
    for value in graph.output:
        value.ClearField("type")
    for node in graph.node:
        for inner in subgraphs(node).values():
            _forget(inner)


def _conflicts(
    graph: onnx.GraphProto, declared: onnx.GraphProto, versions: Mapping[str, int], outer: Types
) -> Iterator[str]:
    said = _types(declared)
    types = {**outer, **said, **_types(graph)}
    made = {name: node for node in graph.node for name in node.output if name}
    for name, kind in said.items():
        if types[name] != kind:
            by = f", and node {_called(made[name])} makes" if name in made else ", and is"
            yield f"edge '{name}' is declared {_word(kind)}{by} {_word(types[name])}"
    for node, twin in zip(graph.node, declared.node, strict=True):
        yield from _node_conflicts(node, types, versions)
        theirs = subgraphs(twin)
        for key, inner in subgraphs(node).items():
            yield from _conflicts(inner, theirs[key], versions, types)


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the element types of a graph's values, as far as they are tensors and known."""
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    found |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name: kind for name, kind in found.items() if kind}


def _node_conflicts(node: onnx.NodeProto, types: Types, versions: Mapping[str, int]) -> Iterator[str]:
    from onnx import defs

    try:
        schema = defs.get_schema(node.op_type, versions.get(node.domain, 1), node.domain)
    except defs.SchemaError:
        return
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    bound: dict[str, int] = {}
    for name, parameter in (*_places(node.input, schema.inputs), *_places(node.output, schema.outputs)):
        kind, letter = types.get(name), parameter.type_str
        if kind is None:
            continue
        if _string(kind) not in allowed.get(letter, {letter}):
            yield f"edge '{name}' is {_word(kind)}, which node {_called(node)} does not take or make there"
        one_type = parameter.is_homogeneous and letter in allowed
        if one_type and bound.setdefault(letter, kind) != kind:
            yield (
                f"edge '{name}' is {_word(kind)}, but other edges of node {_called(node)} "
                f"are {_word(bound[letter])}"
            )


def _places(
    names: Iterable[str], parameters: Sequence[onnx.defs.OpSchema.FormalParameter]
) -> list[tuple[str, onnx.defs.OpSchema.FormalParameter]]:
    """Pair the names given with the schema's parameters; the last one may be variadic."""
    last = len(parameters) - 1
    return [(name, parameters[min(index, last)]) for index, name in enumerate(names) if name and last >= 0]


def _called(node: onnx.NodeProto) -> str:
    return f"'{node.name}' ({node.op_type})"


def _word(kind: int) -> str:
    from onnx import TensorProto

    return TensorProto.DataType.Name(kind).lower()


def _string(kind: int) -> str:
    """Return the type as schemas write it."""
    return f"tensor({_word(kind)})"
