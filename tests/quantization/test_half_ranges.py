"""What is too large, too small, or too small for a division."""

from __future__ import annotations

import numpy as np
import onnx.defs
import onnx.parser
import onnx_ir as ir
import pytest

from onnx_pare.quantization import half_ranges
from onnx_pare.quantization.half_plan import Plan, capable
from onnx_pare.quantization.half_ranges import Ranges, Reach, needs_tiny, small_matters, too_large, too_small
from onnx_pare.quantization.half_slots import float_tensors


def planned(body: str) -> Plan:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[2,2] x) => (float[2,2] y) {body}'
    model = ir.from_proto(onnx.parser.parse_model(text))
    return capable(model, float_tensors(model), set())


@pytest.mark.parametrize("watch_small", [True, False])
def test_reach_leaves_out_zeros_and_infinities(watch_small: bool) -> None:
    reach = Reach(watch_small)
    reach.update(np.zeros(0, np.float32))
    assert not reach.seen
    reach.update(np.array([0.0, -np.inf, np.nan, -4.0, 0.25], np.float32))
    assert (reach.largest, reach.smallest) == (4.0, 0.25)
    reach.update(np.array([-8.0, 0.125], np.float32))
    assert (reach.largest, reach.smallest) == (8.0, 0.125 if watch_small else 0.25)


def test_small_numbers_are_watched_where_they_matter() -> None:
    assert small_matters(planned("{ t = Abs(x) u = Neg(t) y = Div(u, t) }")) == {"x", "t", "u", "y"}
    assert small_matters(planned("{ t = Abs(x) y = Relu(t) }")) == set()


@pytest.mark.parametrize(("peak", "margin", "expected"), [(4e4, 1.0, False), (4e4, 2.0, True)])
def test_too_large(peak: float, margin: float, expected: bool) -> None:
    plan = planned("{ y = Neg(x) }")
    found = [too_large(node, slots, Ranges({"y": peak}), margin) for node, slots in plan.slots.items()]
    assert found == [expected]


def test_a_norm_holds_squares_inside() -> None:
    plan = planned("{ n = ReduceL2(x) y = Mul(x, n) }")
    found = [too_large(node, slots, Ranges({"n": 300.0}), 1.0) for node, slots in plan.slots.items()]
    assert found == [True, False]


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [({"t": 1e-4}, [False, False]), ({"t": 1e-6}, [True, True]), ({"t": 1e-6, "y": 1.0}, [False, False])],
)
def test_too_small_counts_unless_added_to_more(ranges: dict[str, float], expected: list[bool]) -> None:
    plan = planned("{ t = Neg(x) y = Add(x, t) }")
    assert [too_small(node, slots, Ranges(ranges)) for node, slots in plan.slots.items()] == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{ t = Abs(x) y = Div(x, t) }", ["Div", "Abs"]),
        ("{ t = Abs(x) y = Div(t, x) }", []),
        ("{ s = Abs(x) t = Sqrt(s) y = Log(t) }", ["Log", "Sqrt"]),
        ("{ t = Sigmoid(x) y = Log(t) }", ["Log"]),
        ("<float[1] e = {-0.5}> { t = Abs(x) y = Pow(t, e) }", ["Pow", "Abs"]),
        ("<float[1] e = {2}> { t = Abs(x) y = Pow(t, e) }", []),
    ],
)
def test_islands_reach_up_to_where_tiny_numbers_come_from(body: str, expected: list[str]) -> None:
    found = needs_tiny(planned(body), Ranges({}, {"t": 1e-9, "s": 1.0}))
    assert [node.op_type for node in found] == expected


def test_tables_name_real_operators() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert known >= {*half_ranges._ADDS, *half_ranges._SQUARES_INSIDE}
    assert known >= {*half_ranges._SENSITIVE, *half_ranges._HAND_ON}
