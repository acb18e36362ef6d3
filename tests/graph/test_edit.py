from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_pare.graph import edit

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[2] x) => (float[2] y)
<float[2] w = {1.0, 2.0}>
{ c = Constant<value = float[2] {3.0, 4.0}>()  [node] t = Add(x, w)  y = Clip(t, , c) }
"""


def values(model: ir.Model) -> dict[str | None, ir.Value]:
    found: dict[str | None, ir.Value] = {value.name: value for node in model.graph for value in node.outputs}
    return found | dict(model.graph.initializers)


def test_constants_are_initializers_and_constant_nodes() -> None:
    known = values(ir.from_onnx_text(MODEL))
    for name, content in (("w", [1, 2]), ("c", [3, 4])):
        array = edit.constant(known[name])
        assert array is not None
        np.testing.assert_array_equal(array, content)
    assert edit.constant(known["t"]) is None
    assert edit.constant(None) is None


def test_both_kinds_can_be_set() -> None:
    model = ir.from_onnx_text(MODEL)
    for name in ("w", "c"):
        edit.set_constant(values(model)[name], np.array([7, 8], np.float32))
    again = values(ir.from_proto(ir.to_proto(model)))
    for name in ("w", "c"):
        array = edit.constant(again[name])
        assert array is not None
        np.testing.assert_array_equal(array, [7, 8])


def test_new_names_are_free_and_given_once() -> None:
    model = ir.from_onnx_text(MODEL)
    names = edit.Names(model)
    assert [names.new(base) for base in ("w", "w", "node", "x", "free", "free")] == [
        "w_1", "w_2", "node_1", "x_1", "free", "free_1",
    ]  # fmt: skip
    assert edit.unique_name(model, "t") == "t_1"


def test_a_new_initializer_has_type_and_shape() -> None:
    model = ir.from_onnx_text(MODEL)
    value = edit.add_initializer(model.graph, "scale", np.ones((2, 3), np.float16))
    assert model.graph.initializers["scale"] is value
    assert (value.dtype, edit.static_shape(value)) == (ir.DataType.FLOAT16, (2, 3))


def test_a_shape_with_a_free_dimension_is_not_static() -> None:
    model = ir.from_onnx_text(MODEL.replace("float[2] x", "float[N] x"))
    assert edit.static_shape(model.graph.inputs[0]) is None
    assert edit.static_shape(ir.Value(name="shapeless")) is None


def test_inputs_left_out_are_skipped() -> None:
    clip = ir.from_onnx_text(MODEL).graph[-1]
    assert [value.name for value in edit.inputs_used(clip)] == ["t", "c"]
