"""Whether a raw ONNX protobuf hangs together: opsets, operators, nesting, names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import ModelError
from onnx_pare.graph import protos
from onnx_pare.graph.extent import check_nodes
from onnx_pare.graph.texts import check_texts

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 7
MAX_DEPTH = 16
# attribute types that hold one message, and the field it lies in: TENSOR, GRAPH, SPARSE_TENSOR, TYPE_PROTO
_SINGLE_FIELDS = {4: "t", 5: "g", 11: "sparse_tensor", 13: "tp"}
# domains whose operators ship with onnx or onnxruntime
KNOWN_DOMAINS = frozenset(
    {
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.training",
        "ai.onnx.preview",
        "ai.onnx.preview.training",
        "com.microsoft",
        "com.microsoft.nchwc",
        "com.microsoft.experimental",
        "com.ms.internal.nhwc",
        "org.pytorch.aten",
    }
)


def check_structure(proto: onnx.ModelProto, path: Path) -> None:
    """Find what no later step could name as well.

    Raises:
        ModelError: An opset, domain or operator is unknown, there are too many nodes or they nest too deep,
            a name is missing, unreadable or given twice, or something is used that nothing makes.
    """
    check_texts(proto, path)
    _check_opsets(proto, path)
    for graph, depth in protos.graphs(proto):
        if depth > MAX_DEPTH:
            raise ModelError(f"{path}: graph '{graph.name}': subgraphs nest deeper than {MAX_DEPTH} levels")
    check_nodes(proto, path)
    _check_operators(proto, path)
    for node in protos.nodes_within(proto.graph.node):
        if any(attribute.ref_attr_name for attribute in node.attribute):
            raise ModelError(
                f"{path}: node '{node.name}' refers to an attribute of a function, but is in none"
            )
    _check_names(proto.graph, frozenset(), path)
    for function in proto.functions:
        known = _check_reads(function.node, set(function.input), frozenset(), path)
        missing = set(function.output) - known
        if missing:
            raise ModelError(
                f"{path}: function '{function.name}': output '{min(missing)}' is made by no node"
            )


def _check_opsets(proto: onnx.ModelProto, path: Path) -> None:
    import onnx.defs

    newest = onnx.defs.onnx_opset_version()
    versions = {o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")}
    if len(versions) > 1:
        raise ModelError(f"{path}: imports its opset twice, as {' and '.join(map(str, sorted(versions)))}")
    for version in versions:
        if version > newest:
            raise ModelError(
                f"{path}: opset {version} is not supported (known: {OLDEST_OPSET} to {newest})",
                hint="Install a newer onnx package.",
            )
        if version < OLDEST_OPSET:
            raise ModelError(
                f"{path}: opset {version} is not supported (known: {OLDEST_OPSET} to {newest})",
                hint="Export the model again with a newer opset, or use onnx.version_converter.",
            )


def _check_operators(proto: onnx.ModelProto, path: Path) -> None:
    own = {(function.domain, function.name): function for function in proto.functions}
    default = _default_opset(proto)
    scopes = [(function.node, _default_opset(function) or default) for function in proto.functions]
    scopes += [(graph.node, default) for graph, _ in protos.graphs(proto)]
    for nodes, version in scopes:
        for node in nodes:
            function = own.get((node.domain, node.op_type))
            if function is None:
                _check_operator(node, version, path)
            elif len(node.input) > len(function.input) or len(node.output) != len(function.output):
                given, has = ((len(it.input), len(it.output)) for it in (node, function))
                raise ModelError(
                    f"{path}: node '{node.name}' calls function '{function.name}' with {given[0]} inputs and"
                    f" {given[1]} outputs; it has {has[0]} and {has[1]}"
                )


def _default_opset(owner: onnx.ModelProto | onnx.FunctionProto) -> int | None:
    return next((o.version for o in owner.opset_import if o.domain in ("", "ai.onnx")), None)


def _check_operator(node: onnx.NodeProto, version: int | None, path: Path) -> None:
    import onnx.defs

    where = f"{path}: node '{node.name}'"
    if node.domain not in KNOWN_DOMAINS:
        raise ModelError(
            f"{where}: operator {node.op_type} of unknown domain '{node.domain}'",
            hint="onnx-pare loads no custom-operator libraries; export with standard operators.",
        )
    for attribute in node.attribute:
        field = _SINGLE_FIELDS.get(attribute.type)
        if field and not attribute.HasField(field) and not attribute.ref_attr_name:
            raise ModelError(
                f"{where}: attribute '{attribute.name}' holds nothing", hint="The file is damaged."
            )
    if node.domain not in ("", "ai.onnx"):
        return
    if version is None:
        raise ModelError(f"{where}: operator {node.op_type}, but no default opset is imported")
    if not onnx.defs.has(node.op_type, max_inclusive_version=version):
        raise ModelError(
            f"{where}: opset {version} has no operator '{node.op_type}'",
            hint="Export the model again with standard operators.",
        )


def _check_names(graph: onnx.GraphProto, outer: frozenset[str], path: Path) -> None:
    inputs = [value.name for value in graph.input]
    weights = [tensor.name for tensor in graph.initializer]
    weights += [sparse.values.name for sparse in graph.sparse_initializer]
    for kind, names in (("input", inputs), ("initializer", weights)):
        if "" in names:
            raise ModelError(f"{path}: graph '{graph.name}': an {kind} has no name", hint="Export it again.")
        _check_unique(names, f"{path}: {kind}")
    known = _check_reads(graph.node, {*inputs, *weights}, outer, path)
    for value in graph.output:
        if value.name not in known:
            raise ModelError(f"{path}: output '{value.name}' is made by no node")


def _check_reads(
    nodes: Sequence[onnx.NodeProto], given: set[str], outer: frozenset[str], path: Path
) -> frozenset[str]:
    """Check what nodes and their subgraphs read, and return all names known among them."""
    made = [name for node in nodes for name in node.output if name]
    _check_unique([*made, *given], f"{path}: value")
    known = outer.union(given, made)
    for node in nodes:
        for name in node.input:
            if name and name not in known:
                raise ModelError(
                    f"{path}: node '{node.name}' ({node.op_type}) reads '{name}', which nothing makes",
                    hint="The file is damaged, or was cut out of a larger model.",
                )
        for inner in protos.subgraphs(node):
            _check_names(inner, known, path)
    return known


def _check_unique(names: Iterable[str], what: str) -> None:
    name, count = next(iter(Counter(names).most_common(1)), ("", 0))
    if count > 1:
        raise ModelError(f"{what} '{name}' is defined {count} times")
