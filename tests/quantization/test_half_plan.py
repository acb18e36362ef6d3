"""Which nodes the plan takes."""

from __future__ import annotations

import onnx.defs
import onnx.parser
import onnx_ir as ir

from onnx_pare.quantization.half_plan import capable, casts, fit
from onnx_pare.quantization.half_ranges import Ranges
from onnx_pare.quantization.half_slots import STAY_FLOAT, float_tensors, half_slots


def build(body: str) -> ir.Model:
    return ir.from_proto(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {body}'))


SPLIT = """(float[4,4] x) => (float[4,4] y, float[4,4] z) <float[4,4] w = {
    1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}> {
    a = MatMul(x, w)
    [b] b = Relu(a)
    y = MatMul(b, w)
    z = MatMul(b, w)
}"""


def test_one_cast_for_all_readers() -> None:
    model = build(SPLIT)
    plan = capable(model, float_tensors(model), {"b"})
    fit(plan, Ranges(), 2.0)
    assert [value.name for value in plan.activations()] == ["x", "a", "b", "y", "z"]
    assert {value.name: casts(value, plan) for value in plan.activations()} == dict.fromkeys("xabyz", 1)


def test_ranges_decide_by_both_ends() -> None:
    model = build(SPLIT)
    for largest, dropped in (({"b": 40000.0}, 3), ({"b": 20000.0}, 0), ({"b": 1e-7}, 3)):
        plan = capable(model, float_tensors(model), set())
        fit(plan, Ranges(largest), 2.0)
        assert 4 - len(plan.slots) == dropped


def test_tables_name_real_operators() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert known >= STAY_FLOAT


def test_slots_of_mixed_operators() -> None:
    model = build(
        """(float[1,1,4,4] x, float[4] s, bool[4] c) => (float[1,1,8,8] y, float[1,1,4,4] z) {
            y = Resize <mode="nearest"> (x, , s)
            z = Where(c, x, x)
        }"""
    )
    resize, where = (half_slots(node, 17, float_tensors(model)) for node in model.graph)
    assert resize is not None
    assert where is not None
    assert (resize.inputs, resize.outputs) == ({0}, {0})
    assert (where.inputs, where.outputs) == ({1, 2}, {0})
