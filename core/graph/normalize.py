"""Writing one way what ONNX files say in many: domains, node names and order, weights listed as inputs."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import ModelError
from onnx_pare.graph import protos
from onnx_pare.graph.skeleton import graphs

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

log = logging.getLogger(__name__)


def use_empty_domain(proto: onnx.ModelProto) -> None:
    """Write the default domain as the empty string; `ai.onnx` means the same."""
    for node in protos.nodes(proto):
        if node.domain == "ai.onnx":
            node.domain = ""
    owners: list[onnx.ModelProto | onnx.FunctionProto] = [proto, *proto.functions]
    for owner in owners:
        versions = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in owner.opset_import}
        if len(versions) != len(owner.opset_import) or any(o.domain == "ai.onnx" for o in owner.opset_import):
            del owner.opset_import[:]
            for domain, number in versions.items():
                owner.opset_import.add(domain=domain, version=number)


def forget_negative_dims(proto: onnx.ModelProto) -> None:
    """Make dimensions below zero, which old exporters wrote for "any", unknown ones."""
    for graph, _ in protos.graphs(proto):
        for value in (*graph.input, *graph.output, *graph.value_info):
            for dim in value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ():
                if dim.dim_value < 0:
                    dim.ClearField("dim_value")


def fix_weights(model: ir.Model) -> None:
    """Take weights out of the inputs, where old exporters listed them all, so that they count as constants.

    Until IR version 3 an initializer had to be an input too, and onnxruntime takes it as a constant. From IR
    version 4 on it is a default that a caller may override: those stay, unless every initializer is listed,
    which is the habit of old exporters and never meant.
    """
    graph = model.graph
    listed = [value for value in graph.inputs if value.name in graph.initializers]
    old = model.ir_version is not None and model.ir_version < 4
    if listed and (old or len(listed) == len(graph.initializers)):
        log.info("%d weights were listed as inputs too; they are constants now", len(listed))
        for value in listed:
            graph.inputs.remove(value)
    if old:
        model.ir_version = 4


def sort_nodes(model: ir.Model, path: Path) -> None:
    """Bring the nodes into an order in which each comes after those it reads from.

    Raises:
        ModelError: The graph has a cycle.
    """
    from onnx_ir.passes.common import TopologicalSortPass

    try:
        TopologicalSortPass()(model)
    except ValueError as error:
        raise ModelError(f"{path}: the graph has a cycle: {_cycle(model.graph)}") from error


def name_nodes(model: ir.Model) -> None:
    """Give every node whose name is missing or taken in its graph a unique one; the others keep theirs."""
    for graph in model.graphs():
        taken = {node.name for node in graph if node.name}
        counts: Counter[str] = Counter()
        seen: set[str] = set()
        for index, node in enumerate(graph):
            if node.name and node.name not in seen:
                seen.add(node.name)
                continue
            base = node.name or f"{node.op_type}_{index}"
            name = base
            while name in taken:
                counts[base] += 1
                name = f"{base}_{counts[base]}"
            taken.add(name)
            node.name = name


def hold_constants_in_memory(model: ir.Model) -> None:
    """Load all external tensors but the main graph's initializers: only those are saved apart."""
    import onnx_ir as ir

    for graph in model.graphs():
        for value in graph.initializers.values() if graph is not model.graph else ():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = _loaded(value.const_value)

    for body in (*model.graphs(), *model.functions.values()):
        for node in body:
            for name, attribute in list(node.attributes.items()):
                if attribute.type != ir.AttributeType.TENSOR or attribute.is_ref():
                    continue
                tensor = attribute.as_tensor()
                if isinstance(tensor, ir.ExternalTensor):
                    node.attributes[name] = ir.AttrTensor(name, _loaded(tensor))


def forget_wrong_shapes(model: ir.Model, proto: onnx.ModelProto) -> None:
    """Drop the recorded shapes of inner values that contradict what onnx infers without them.

    Some exporters and optimizers record wrong ones. Runtimes go by their own inference.

    Args:
        model: The model.
        proto: The same, `unweighted`; it loses its recorded shapes.
    """
    from onnx.shape_inference import InferenceError, infer_shapes

    for graph in graphs(proto.graph):
        del graph.value_info[:]
    try:
        proto = infer_shapes(proto)
    except InferenceError as error:
        log.debug("recorded shapes are not checked: %s", error)
        return
    inferred: dict[str, list[onnx.TypeProto]] = {}  # subgraphs may use a name again
    for value in (value for graph in graphs(proto.graph) for value in graph.value_info):
        inferred.setdefault(value.name, []).append(value.type)
    for made in (made for graph in model.graphs() for node in graph for made in node.outputs):
        kinds = [] if made.is_graph_output() else inferred.get(made.name or "", [])
        if kinds and made.shape is not None and all(_contradicts(made.shape, kind) for kind in kinds):
            log.debug("the recorded shape %s of '%s' is dropped", made.shape, made.name)
            made.shape = None


def _contradicts(shape: ir.Shape, kind: onnx.TypeProto) -> bool:
    tensor = kind.tensor_type
    if kind.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        return False
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if len(dims) != len(shape):
        return True
    pairs = zip(shape, dims, strict=True)
    return any(isinstance(dim, int) and known is not None and dim != known for dim, known in pairs)


def _loaded(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    import onnx_ir as ir

    copy = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
    tensor.release()
    return copy


def _cycle(graph: ir.Graph) -> str:
    """Return the names of the nodes along one cycle of the graph, which must have one."""
    waiting = set(graph)
    while ready := {node for node in waiting if not waiting.intersection(node.predecessors())}:
        waiting -= ready
    if not waiting:
        return "inside a subgraph"
    node = min(waiting, key=lambda n: n.name or "")
    walk: list[ir.Node] = []
    while node not in walk:
        walk.append(node)
        node = min(waiting.intersection(node.predecessors()), key=lambda n: n.name or "")
    loop = [*walk[walk.index(node) :][::-1]]
    return " → ".join(f"'{n.name or n.op_type}'" for n in [*loop, loop[0]][:6])
