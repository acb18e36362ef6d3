from __future__ import annotations

import time
from pathlib import Path

import onnx
import pytest
from onnx import helper

from onnx_pare.errors import ModelError
from onnx_pare.graph import extent
from onnx_pare.graph.extent import MAX_MESSAGES, MAX_NESTED_CALLS, MAX_NODES, check_messages, check_nodes

PATH = Path("m.onnx")


def calling(*calls: tuple[str, ...]) -> onnx.ModelProto:
    """Return a model that calls F0; each function calls those named, `Relu` being none."""
    proto = onnx.ModelProto()
    proto.graph.node.add(op_type="F0", domain="local", input=["x"], output=["y"])
    for index, called in enumerate(calls):
        function = proto.functions.add(domain="local", name=f"F{index}", input=["x"], output=["y"])
        for op in called:
            function.node.add(op_type=op, domain="" if op == "Relu" else "local", input=["x"], output=["y"])
    return proto


def test_nodes_of_functions_count_as_often_as_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = calling(("F1", "F1", "Relu"), ("Relu", "Relu"))
    proto.graph.node.append(proto.graph.node[0])
    monkeypatch.setattr(extent, "MAX_NODES", 10)
    check_nodes(proto, PATH)
    proto.graph.node.add(op_type="Relu")
    with pytest.raises(ModelError, match=r"^m\.onnx: has 11 nodes, its functions inlined; the limit is 10$"):
        check_nodes(proto, PATH)


def test_functions_that_double_are_refused_at_once() -> None:
    proto = calling(*[(f"F{index + 1}",) * 2 for index in range(MAX_NESTED_CALLS - 2)], ("Relu",))
    started = time.perf_counter()
    with pytest.raises(ModelError, match=f"has {2 ** (MAX_NESTED_CALLS - 2):,} nodes"):
        check_nodes(proto, PATH)
    assert time.perf_counter() - started < 10


def test_functions_that_are_called_too_often() -> None:
    proto = calling(*[(f"F{index + 1}",) * 2 for index in range(12)], ("Relu",))
    with pytest.raises(ModelError, match=r"calls its functions 8,191 times; the limit is 2,048"):
        check_nodes(proto, PATH)


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([("F0",)], "function 'F0' calls itself"),
        ([("F1",), ("Relu", "F2"), ("F1",)], "function 'F1' calls itself"),
        (
            [(f"F{index + 1}",) for index in range(2 * MAX_NESTED_CALLS)],
            f"is called by {MAX_NESTED_CALLS} others around it",
        ),
    ],
)
def test_functions_without_end(calls: list[tuple[str, ...]], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        check_nodes(calling(*calls), PATH)


def test_calls_in_subgraphs_count() -> None:
    proto = calling(("Relu",))
    inner = helper.make_graph([helper.make_node("F0", ["x"], ["y"], domain="local")], "g", [], [])
    proto.functions[0].node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    with pytest.raises(ModelError, match="function 'F0' calls itself"):
        check_nodes(proto, PATH)


def test_a_graph_of_many_nodes() -> None:
    proto = onnx.ModelProto()
    node = onnx.NodeProto(op_type="Relu")
    proto.graph.node.extend([node] * (MAX_NODES + 1))
    with pytest.raises(ModelError, match=f"has {MAX_NODES + 1:,} nodes"):
        check_nodes(proto, PATH)


def test_files_of_empty_messages_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting a file of the real limit takes seconds: the limits are lowered by a factor of 64."""
    monkeypatch.setattr(extent, "MAX_MESSAGES", MAX_MESSAGES >> 6)
    monkeypatch.setattr(extent, "_COUNTED_BYTES", extent._COUNTED_BYTES >> 6)
    nodes = b"\x0a\x00" * (9 << 14)
    size = bytes([len(nodes) & 127 | 128, len(nodes) >> 7 & 127 | 128, len(nodes) >> 14])
    with pytest.raises(ModelError, match="holds more than 65,536 nodes, attributes, tensors and dim"):
        check_messages(memoryview(b"\x3a" + size + nodes), PATH)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * (17 << 20),  # a number without end
        b"\x3a\xff\xff\xff\xff\x0f" + bytes(17 << 20),  # longer than the file
        bytes(17 << 20),  # fields without a number
        b"\x0b" * (17 << 20),  # groups
    ],
)
def test_damage_is_left_to_the_parser(content: bytes) -> None:
    started = time.perf_counter()
    check_messages(memoryview(content), PATH)
    assert time.perf_counter() - started < 20


def test_messages_are_counted_as_the_parser_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    value = helper.make_tensor_value_info("x", 1, [1, 2])  # value, type, tensor, shape, two dimensions: 6
    tensor = helper.make_tensor("w", 1, [2], [1.0, 2.0])
    graph = helper.make_graph([helper.make_node("Conv", ["x"], ["y"], group=1)], "g", [value], [], [tensor])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    monkeypatch.setattr(extent, "_COUNTED_BYTES", 0)
    content = memoryview(proto.SerializeToString())
    held = 1 + 1 + 2 + 1 + 6  # graph, opset, node and attribute, tensor, value
    monkeypatch.setattr(extent, "MAX_MESSAGES", held)
    check_messages(content, PATH)
    monkeypatch.setattr(extent, "MAX_MESSAGES", held - 1)
    with pytest.raises(ModelError, match="holds more than"):
        check_messages(content, PATH)
