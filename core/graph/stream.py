"""Writing a model file weight by weight, so that they are not copied into one huge message first.

The lengths of all fields are known beforehand, so the large tensors can go from where they lie straight into
the file (see `wire`). The bytes are those that `SerializeToString(deterministic=True)` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onnx_pare.graph import wire
from onnx_pare.graph.protos import from_model
from onnx_pare.graph.wire import GRAPH_INITIALIZER, MODEL_GRAPH, TENSOR_RAW_DATA

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    from google.protobuf.message import Message

    Piece = bytes | ir.TensorProtocol


def write_inline(model: ir.Model, path: Path) -> None:
    """Write the model with all its weights inside to `path`; the model stays as it is.

    Raises:
        OSError: The file cannot be written.
    """
    import onnx_ir as ir

    initializers = model.graph.initializers
    held = {name: value.const_value for name, value in initializers.items()}
    streamed: dict[str, ir.TensorProtocol] = {}
    try:
        for name, tensor in held.items():
            if tensor is not None and _is_streamed(tensor):
                streamed[name] = tensor
                initializers[name].const_value = _stub(tensor, name)
            elif isinstance(tensor, ir.ExternalTensor):
                initializers[name].const_value = ir.Tensor(
                    tensor.numpy().copy(), dtype=tensor.dtype, name=name
                )
        proto = from_model(model)
    finally:
        for name, tensor in held.items():
            initializers[name].const_value = tensor
    with path.open("wb") as file:
        for piece in _model(proto, streamed):
            _write(piece, file)


def _is_streamed(tensor: ir.TensorProtocol) -> bool:
    import onnx_ir as ir

    if tensor.nbytes < wire.STREAMED_BYTES or tensor.dtype == ir.DataType.STRING:
        return False
    return not isinstance(tensor, ir.TensorProtoTensor) or tensor.raw.HasField("raw_data")


def _stub(tensor: ir.TensorProtocol, name: str) -> ir.ExternalTensor:
    import onnx_ir as ir

    return ir.ExternalTensor(
        "",
        None,
        None,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=name,
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props),
    )


def _model(proto: onnx.ModelProto, streamed: dict[str, ir.TensorProtocol]) -> Iterator[Piece]:
    graph = list(_graph(proto.graph, streamed))
    yield _fields(proto, lambda number: number < MODEL_GRAPH)
    yield wire.tag(MODEL_GRAPH, sum(map(_size, graph)))
    yield from graph
    yield _fields(proto, lambda number: number > MODEL_GRAPH)


def _graph(graph: onnx.GraphProto, streamed: dict[str, ir.TensorProtocol]) -> Iterator[Piece]:
    yield _fields(graph, lambda number: number < GRAPH_INITIALIZER)
    for tensor in graph.initializer:
        pieces: list[Piece] = [tensor.SerializeToString(deterministic=True)]
        if tensor.name in streamed:
            pieces = list(_tensor(tensor, streamed[tensor.name]))
        yield wire.tag(GRAPH_INITIALIZER, sum(map(_size, pieces)))
        yield from pieces
    yield _fields(graph, lambda number: number > GRAPH_INITIALIZER)


def _tensor(stub: onnx.TensorProto, tensor: ir.TensorProtocol) -> Iterator[Piece]:
    stub.ClearField("external_data")
    stub.ClearField("data_location")
    yield _fields(stub, lambda number: number < TENSOR_RAW_DATA)
    yield wire.tag(TENSOR_RAW_DATA, tensor.nbytes)
    yield tensor
    yield _fields(stub, lambda number: number > TENSOR_RAW_DATA)


def _fields(message: Message, keep: Callable[[int], bool]) -> bytes:
    """Serialize some of a message's fields."""
    part = type(message)()
    part.CopyFrom(message)
    for field, _ in part.ListFields():
        if not keep(field.number):
            part.ClearField(field.name)
    content: bytes = part.SerializeToString(deterministic=True)
    return content


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.nbytes


def _write(piece: Piece, file: BinaryIO) -> None:
    if isinstance(piece, bytes):
        file.write(piece)
    elif hasattr(piece, "tofile"):
        piece.tofile(file)
    else:
        file.write(piece.tobytes())
