"""How much a model holds: counted before its file is parsed, and before its functions are inlined."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.errors import ModelError
from onnx_pare.graph import protos

if TYPE_CHECKING:
    import onnx

MAX_NODES = 1 << 18
# nodes, attributes, tensors, values, types and dimensions: parsed, each takes some hundred bytes
MAX_MESSAGES = 1 << 22
# inlining takes time by the square of the calls
MAX_CALLS = 1 << 11
MAX_NESTED_CALLS = 32
# smaller files cannot hold enough to matter
_COUNTED_BYTES = 16 << 20
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_WIRES = (_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES)
_Key = tuple[str, str]


def check_messages(content: memoryview, path: Path) -> None:
    """Refuse a file that parsed would take many times its own size: an empty message is two bytes in it.

    Raises:
        ModelError: It holds more than MAX_MESSAGES.
    """
    if len(content) > _COUNTED_BYTES and _messages(content) > MAX_MESSAGES:
        raise ModelError(
            f"{path}: holds more than {MAX_MESSAGES:,} nodes, attributes, tensors and dimensions"
        )


def check_nodes(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse a graph that is too large, functions inlined: forty that call the next one twice are 2^40 nodes.

    Raises:
        ModelError: It has more than MAX_NODES nodes, or functions call themselves or nest too deep.
    """
    nodes, calls = _Inlined(proto, path).size(proto.graph.node, ())
    if nodes > MAX_NODES:
        raise ModelError(f"{path}: has {nodes:,} nodes, its functions inlined; the limit is {MAX_NODES:,}")
    if calls > MAX_CALLS:
        raise ModelError(f"{path}: calls its functions {calls:,} times; the limit is {MAX_CALLS:,}")


class _Inlined:
    """Counts nodes and calls with those in the functions they call; each function is counted once."""

    def __init__(self, proto: onnx.ModelProto, path: Path) -> None:
        self._path = path
        self._functions = {(function.domain, function.name): function.node for function in proto.functions}
        self._sizes: dict[_Key, tuple[int, int]] = {}

    def size(self, nodes: Iterable[onnx.NodeProto], within: tuple[_Key, ...]) -> tuple[int, int]:
        """Return how many nodes and calls there are, in subgraphs too; `within` are the functions around."""
        keys = ((node.domain, node.op_type) for node in protos.nodes_within(nodes))
        sizes = [self._called(key, within) for key in keys]
        return sum(nodes for nodes, _ in sizes), sum(calls for _, calls in sizes)

    def _called(self, key: _Key, within: tuple[_Key, ...]) -> tuple[int, int]:
        if key not in self._functions:
            return 1, 0
        if key in within or len(within) >= MAX_NESTED_CALLS:
            said = "calls itself" if key in within else f"is called by {MAX_NESTED_CALLS} others around it"
            raise ModelError(f"{self._path}: function '{key[1]}' {said}", hint="The file is damaged.")
        if key not in self._sizes:
            nodes, calls = self.size(self._functions[key], (*within, key))
            self._sizes[key] = nodes, calls + 1
        return self._sizes[key]


def _messages(content: memoryview) -> int:
    """Return how many messages a serialized ModelProto holds, up to MAX_MESSAGES and one.

    Of damaged content only what comes before the damage is counted: the parser refuses it anyway.
    """
    import onnx

    stack: list[tuple[int, int, Any]] = [(0, len(content), onnx.ModelProto.DESCRIPTOR)]
    count = 0
    try:
        while stack and count <= MAX_MESSAGES:
            position, end, kind = stack.pop()
            while position < end and count <= MAX_MESSAGES:
                tag, position = _varint(content, position)
                number, wire = tag >> 3, tag & 7
                if wire == _VARINT:
                    _, position = _varint(content, position)
                elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
                    position += 8 if wire == _EIGHT_BYTES else 4
                elif wire == _LENGTH:
                    length, position = _varint(content, position)
                    field = kind.fields_by_number.get(number)
                    if field is not None and field.message_type is not None:
                        count += 1
                        if length:
                            stack.append((position, min(position + length, end), field.message_type))
                    position += length
                if wire not in _WIRES or not number:
                    return count
    except IndexError:
        return count
    return count


def _varint(content: memoryview, position: int) -> tuple[int, int]:
    """Return the number at `position`, and where the next field begins.

    Raises:
        IndexError: It is cut short, or longer than 64 bits.
    """
    number = 0
    for index in range(10):
        byte = content[position + index]
        number |= (byte & 127) << 7 * index
        if byte < 128:
            return number, position + index + 1
    raise IndexError("longer than 64 bits")
