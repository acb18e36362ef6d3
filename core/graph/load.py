"""Loading an ONNX file: everything that can be wrong with it is found here, and said."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import ModelError

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

OLDEST_OPSET = 7
# domains whose operators ship with onnx or onnxruntime
KNOWN_DOMAINS = frozenset(
    {
        "",
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


def load_model(path: Path) -> ir.Model:
    """Load the ONNX model at `path`; weights in external files stay memory-mapped.

    Normalizes what carries no meaning: the domain `ai.onnx` becomes the empty one, and nodes whose name is
    missing or taken get a unique one. Names of values, inputs and outputs are kept.

    Raises:
        ModelError: The file is missing, empty, truncated or not ONNX; external data is missing, short or
            outside the model's folder; the opset or a domain is unknown; the graph has sparse initializers
            that cannot be made dense.
    """
    import onnx_ir as ir

    proto = _read(path)
    _check_opsets(proto, path)
    _check_external_data(proto, path)
    _densify(proto.graph, path)
    _use_empty_domain(proto)
    try:
        model = ir.from_proto(proto)
    except Exception as error:  # onnx-ir raises many kinds for the many ways a graph can be inconsistent
        raise ModelError(f"{path}: the graph is inconsistent: {first_line(error)}") from error
    ir.external_data.set_base_dir(model.graph, path.parent)
    _hold_constants_in_memory(model)
    name_nodes(model)
    return model


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file at `path`, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def size_bytes(path: Path) -> int:
    """Return the size of the model file and of the external data files it refers to, in bytes."""
    import onnx

    proto = onnx.load(str(path), load_external_data=False)
    files = {location for location, _, _ in (_external_fields(t) for t in _tensors(proto) if t.external_data)}
    return path.stat().st_size + sum((path.parent / name).stat().st_size for name in files)


def first_line(error: BaseException) -> str:
    """Return what an exception says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _read(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    if not path.exists():
        raise ModelError(f"{path}: no such file")
    if path.is_dir():
        raise ModelError(f"{path}: is a folder, not an ONNX file")
    try:
        size = path.stat().st_size
        if size == 0:
            raise ModelError(f"{path}: the file is empty")
        proto = onnx.load(str(path), format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise ModelError(
            f"{path}: not an ONNX file, or cut short after {size} bytes",
            hint="Check that the download or copy is complete (Git LFS pointers are small text files).",
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelError(f"{path}: holds no graph; not an ONNX model, or cut short")
    if not proto.opset_import:
        raise ModelError(f"{path}: names no opset (opset_import is empty); not an ONNX model, or cut short")
    return proto


def _check_opsets(proto: onnx.ModelProto, path: Path) -> None:
    import onnx.defs

    newest = onnx.defs.onnx_opset_version()
    own = {function.domain for function in proto.functions}
    used = {node.domain for node in _nodes(proto)}
    for opset in proto.opset_import:
        if opset.domain in ("", "ai.onnx") and not OLDEST_OPSET <= opset.version <= newest:
            raise ModelError(
                f"{path}: opset {opset.version} is not supported (known: {OLDEST_OPSET} to {newest})",
                hint="Install a newer onnx package."
                if opset.version > newest
                else "Export the model again with a newer opset, or use onnx.version_converter.",
            )
    imported = {opset.domain for opset in proto.opset_import}
    for domain in sorted(used | imported):
        if domain == "ai.onnx" or domain in KNOWN_DOMAINS or domain in own:
            continue
        if domain in used:
            first = next(node for node in _nodes(proto) if node.domain == domain)
            raise ModelError(
                f"{path}: unknown operator domain '{domain}' (node '{first.name}', op {first.op_type})",
                hint="onnx-pare loads no custom-operator libraries; export with standard operators.",
            )


def _check_external_data(proto: onnx.ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    for tensor in _tensors(proto):
        if not tensor.external_data:
            continue
        location, offset, length = _external_fields(tensor)
        where = f"{path}: tensor '{tensor.name}'"
        target = Path(location)
        if not location or target.is_absolute() or ".." in target.parts:
            raise ModelError(f"{where}: external data path '{location}' leaves the model's folder")
        file = path.parent / target
        if not file.is_file():
            raise ModelError(
                f"{where}: external data file '{location}' is missing",
                hint=f"Put it beside the model, in {path.parent}.",
            )
        if file.is_symlink() or not file.resolve().is_relative_to(folder):
            raise ModelError(f"{where}: external data path '{location}' is a link out of the model's folder")
        needed = _tensor_bytes(tensor) if length is None else length
        if offset < 0 or needed < 0 or offset + needed > file.stat().st_size:
            raise ModelError(
                f"{where}: external data file '{location}' is too short: needs {offset + needed} bytes, "
                f"has {file.stat().st_size}"
            )
        if length is not None and length < _tensor_bytes(tensor):
            raise ModelError(
                f"{where}: external data gives {length} bytes, its shape needs {_tensor_bytes(tensor)}"
            )


def _external_fields(tensor: onnx.TensorProto) -> tuple[str, int, int | None]:
    fields = {entry.key: entry.value for entry in tensor.external_data}
    try:
        length = int(fields["length"]) if "length" in fields else None
        return fields.get("location", ""), int(fields.get("offset") or 0), length
    except ValueError as error:
        raise ModelError(f"tensor '{tensor.name}': external data offset or length is no number") from error


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    import math

    import onnx_ir as ir

    return math.ceil(math.prod(tensor.dims) * ir.DataType(tensor.data_type).itemsize)


def _densify(graph: onnx.GraphProto, path: Path) -> None:
    """Turn sparse initializers into dense ones; onnx-ir would drop them silently."""
    import numpy as np
    from onnx import numpy_helper

    for sparse in graph.sparse_initializer:
        values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
        dense = np.zeros(tuple(sparse.dims), values.dtype)
        try:
            if indices.ndim == 1:
                dense.reshape(-1)[indices] = values
            else:
                dense[tuple(indices.T)] = values
        except IndexError as error:
            raise ModelError(f"{path}: sparse initializer '{sparse.values.name}': {error}") from error
        graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
    del graph.sparse_initializer[:]


def _use_empty_domain(proto: onnx.ModelProto) -> None:
    """Write the default domain one way: `ai.onnx` means the same as the empty string."""
    for node in _nodes(proto):
        if node.domain == "ai.onnx":
            node.domain = ""
    for owner in (proto, *proto.functions):
        versions = {o.domain: o.version for o in owner.opset_import}
        if "ai.onnx" not in versions:
            continue
        version = versions.pop("ai.onnx")
        versions.setdefault("", version)
        del owner.opset_import[:]
        for domain, number in versions.items():
            owner.opset_import.add(domain=domain, version=number)


def _hold_constants_in_memory(model: ir.Model) -> None:
    """Load external tensors of Constant nodes: onnx-ir writes only initializers back to external files."""
    import onnx_ir as ir

    for graph in model.graphs():
        for node in graph:
            for name, attribute in list(node.attributes.items()):
                if attribute.type != ir.AttributeType.TENSOR or attribute.is_ref():
                    continue
                tensor = attribute.as_tensor()
                if isinstance(tensor, ir.ExternalTensor):
                    copy = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
                    node.attributes[name] = ir.AttrTensor(name, copy)


def name_nodes(model: ir.Model) -> None:
    """Give every node whose name is missing or taken in its graph a unique one."""
    for graph in model.graphs():
        taken: set[str] = set()
        for index, node in enumerate(graph):
            name = node.name or f"{node.op_type}_{index}"
            base, suffix = name, 0
            while name in taken:
                suffix += 1
                name = f"{base}_{suffix}"
            taken.add(name)
            if node.name != name:
                node.name = name


def _graphs(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    stack = [proto.graph]
    while stack:
        graph = stack.pop()
        yield graph
        for node in graph.node:
            stack.extend(_subgraphs(node))


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in _graphs(proto):
        yield from graph.node
    for function in proto.functions:
        yield from function.node


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in _graphs(proto):
        yield from graph.initializer
    for node in _nodes(proto):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
