"""Protobuf's wire format, for model files too large to be parsed or serialized as one message.

A message is the concatenation of its fields, each `tag, content` or `tag, length, content`; the tag is the
field's number and the kind of its content (https://protobuf.dev/programming-guides/encoding/). The large
contents, raw data of initializers, can thus be passed over, or go straight from where they lie into a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

Buffer = bytes | mmap

# initializers with raw data below this size are read and written as they are
STREAMED_BYTES = 1 << 16
# field numbers in onnx.proto
MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_RAW_DATA = 7, 5, 9
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
# kinds of content
_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
_SIZES = {_FIXED_64: 8, _FIXED_32: 4}


@dataclass(frozen=True)
class Field:
    """One field of a message: positions in the buffer of its tag, its content, and its end."""

    number: int
    kind: int
    tag: int
    start: int
    end: int


def tag(number: int, size: int) -> bytes:
    """Return the start of a field whose content is `size` bytes long."""
    return varint(number << 3 | _LENGTH) + varint(size)


def varint(number: int) -> bytes:
    """Return a number below 2^64 in groups of 7 bits, the lowest first."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def fields(buffer: Buffer, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message that lies from `start` to `end`.

    Raises:
        ValueError: It is no such message, or cut short.
    """
    position = start
    while position < end:
        first = position
        key, position = _number(buffer, position, end)
        number, kind = key >> 3, key & 7
        size = _SIZES.get(kind, 0)
        if kind == _VARINT:
            size = _number(buffer, position, end)[1] - position
        elif kind == _LENGTH:
            size, position = _number(buffer, position, end)
        elif kind not in _SIZES:
            raise ValueError(f"unknown kind of field: {kind}")
        if position + size > end:
            raise ValueError("a field reaches beyond its message")
        yield Field(number, kind, first, position, position + size)
        position += size


def without_weights(buffer: Buffer, location: str) -> bytes:
    """Return the model in `buffer` with the large initializers of its main graph as external data.

    These then lie at the file `location`, at the place that they have in the buffer; nothing is copied.

    Raises:
        ValueError: The buffer holds no protobuf message, or one cut short.
    """
    pieces = []
    for field in fields(buffer, 0, len(buffer)):
        if (field.number, field.kind) == (MODEL_GRAPH, _LENGTH):
            graph = b"".join(_graph(buffer, field, location))
            pieces += [tag(MODEL_GRAPH, len(graph)), graph]
        else:
            pieces.append(buffer[field.tag : field.end])
    return b"".join(pieces)


def _graph(buffer: Buffer, graph: Field, location: str) -> Iterator[bytes]:
    for field in fields(buffer, graph.start, graph.end):
        if (field.number, field.kind) == (GRAPH_INITIALIZER, _LENGTH):
            tensor = _tensor(buffer, field, location)
            yield tag(GRAPH_INITIALIZER, len(tensor))
            yield tensor
        else:
            yield buffer[field.tag : field.end]


def _tensor(buffer: Buffer, tensor: Field, location: str) -> bytes:
    if tensor.end - tensor.start < STREAMED_BYTES:
        return buffer[tensor.start : tensor.end]
    found = list(fields(buffer, tensor.start, tensor.end))
    held = [field for field in found if (field.number, field.kind) == (TENSOR_RAW_DATA, _LENGTH)]
    external = any(field.number in (_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION) for field in found)
    if len(held) != 1 or external or held[0].end - held[0].start < STREAMED_BYTES:
        return buffer[tensor.start : tensor.end]
    kept = b"".join(buffer[field.tag : field.end] for field in found if field is not held[0])
    return kept + _reference(location, held[0])


def _reference(location: str, data: Field) -> bytes:
    import onnx

    stub = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", data.start), ("length", data.end - data.start)):
        stub.external_data.add(key=key, value=str(value))
    content: bytes = stub.SerializeToString()
    return content


def _number(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """Return the number at a position, and the position behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise ValueError("cut short")
        byte = buffer[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
    raise ValueError("a number of more than ten bytes")
