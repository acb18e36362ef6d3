"""What files say in many ways is written in one, and means the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import helper

from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.signature import signature


def loaded(proto: onnx.ModelProto | str, folder: Path) -> ir.Model:
    path = folder / "m.onnx"
    made = onnx.parser.parse_model(proto) if isinstance(proto, str) else proto
    path.write_bytes(made.SerializeToString())
    return load_model(path)


def output(model: ir.Model, folder: Path, x: list[float]) -> list[float]:
    write_model(model, folder / "out.onnx")
    (y,) = Session(folder / "out.onnx").run({"x": np.array(x, np.float32)})
    return [float(entry) for entry in y]


def test_the_domain_ai_onnx_is_the_empty_one(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["ai.onnx" : 17]>
        g (float[2] x) => (float[2] y) { y = ai.onnx.Neg(x) }"""
    model = loaded(text, tmp_path)
    assert model.opset_imports == {"": 17}
    assert model.graph[0].domain == ""
    assert output(model, tmp_path, [1, 2]) == [-1, -2]


def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Neg", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"])]
    graph = helper.make_graph(nodes, "g", [value("x", 1, [2])], [value("y", 1, [2])])
    imports = [helper.make_opsetid("", 17)]
    model = loaded(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path)
    assert [node.op_type for node in model.graph] == ["Relu", "Neg"]
    assert output(model, tmp_path, [-1, 2]) == [0, -2]


def test_sorted_nodes_keep_their_order(shared: Path) -> None:
    for path in sorted((shared / "models").glob("*.onnx")):
        before = [list(node.output) for node in onnx.load(path).graph.node]
        assert [[v.name for v in node.outputs] for node in load_model(path).graph] == before


def test_node_names_become_unique_and_good_ones_stay(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) {
        a = Relu(x)
        [Relu_0] b = Relu(a)
        [same] c = Relu(b)
        [same] d = Relu(c)
        [same_1] y = Relu(d)
    }"""
    names = [node.name for node in loaded(text, tmp_path).graph]
    assert names == ["Relu_0_1", "Relu_0", "same", "same_2", "same_1"]


LISTED = """<ir_version: {ir}, opset_import: ["" : 8]>
    g (float[2] x, float[2] w{more}) => (float[2] y) <float[2] w = {{1,2}}, float[2] v = {{3,4}}> {{
        a = Mul(x, w)
        y = Add(a, v)
    }}"""


@pytest.mark.parametrize(("version", "more"), [(3, ", float[2] v"), (4, ", float[2] v"), (3, "")])
def test_weights_listed_as_inputs_become_constants(version: int, more: str, tmp_path: Path) -> None:
    model = loaded(LISTED.format(ir=version, more=more), tmp_path)
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert output(model, tmp_path, [1, 1]) == [4, 6]


def test_defaults_that_callers_may_override_stay_inputs(tmp_path: Path) -> None:
    model = loaded(LISTED.format(ir=4, more=""), tmp_path)
    assert [value.name for value in model.graph.inputs] == ["x", "w"]
    assert [port.name for port in signature(model).inputs] == ["x"]
    assert output(model, tmp_path, [1, 1]) == [4, 6]
    (y,) = Session(tmp_path / "out.onnx").run({"x": np.ones(2, np.float32), "w": np.zeros(2, np.float32)})
    assert list(y) == [3, 4]


def test_negative_dimensions_are_unknown_ones(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,2] x) => (float[1,2] y) { y = Neg(x) }'
    )
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert signature(loaded(proto, tmp_path)).inputs[0].shape == (None, 2)


@pytest.mark.parametrize(
    ("recorded", "kept"),
    [([2, 3], True), (["N", 3], True), ([None, 3], True), ([2, 4], False), ([], False), ([2, 3, 1], False)],
)
def test_recorded_shapes_that_contradict_inference_are_dropped(
    recorded: list[int | str | None], kept: bool, tmp_path: Path
) -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x, bool c) => (float[2,3] y) { a = Relu(x)
        b = If(c) <then_branch = t () => (float[2,3] u) { d = Exp(a)  u = Neg(d) },
                   else_branch = e () => (float[2,3] v) { f = Neg(a)  v = Neg(f) }>
        y = Abs(b) }"""
    )
    proto.graph.value_info.append(helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, recorded))
    branch = proto.graph.node[1].attribute[0].g
    branch.value_info.append(helper.make_tensor_value_info("d", onnx.TensorProto.FLOAT, recorded))
    model = loaded(proto, tmp_path)
    values = {value.name: value for graph in model.graphs() for node in graph for value in node.outputs}
    assert [values[name].shape is not None for name in ("a", "d")] == [kept, kept]
    assert values["y"].shape == ir.Shape([2, 3])
