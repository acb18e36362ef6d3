"""The border between float32 and half is the cheapest there is."""

from __future__ import annotations

from itertools import combinations

import onnx.parser
import onnx_ir as ir
import pytest

from onnx_pare.quantization.half_cut import CAST_PRICE, NODE_GAIN, costly_nodes
from onnx_pare.quantization.half_plan import HEAVY, Plan, capable, casts
from onnx_pare.quantization.half_slots import float_tensors

HEAD = '<ir_version: 8, opset_import: ["" : 17]> g (float[4,4] x) => (float[4,4] y) <float[4,4] w = {%s}>'
EYE = "1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1"
BETWEEN_ISLANDS = "{ [a] a = MatMul(x, w) b = Relu(a) c = Neg(b) [d] y = MatMul(c, w) }"
DIAMOND = """{ a = MatMul(x, w) b = Relu(a) c = Neg(b) d = Abs(b) [e] e = Exp(c) f = Add(e, d) g = Sub(f, b)
    h = Neg(g) [i] i = Sigmoid(h) j = Add(i, e) y = MatMul(j, w) }"""
ISLAND = "{ a = MatMul(x, w) b = Relu(a) [c] c = Exp(b) d = Neg(c) y = MatMul(d, w) }"


def planned(body: str, skipped: set[str]) -> Plan:
    model = ir.from_proto(onnx.parser.parse_model(f"{HEAD % EYE} {body}"))
    return capable(model, float_tensors(model), skipped)


def price(plan: Plan, values: list[ir.Value], dropped: set[ir.Node]) -> int:
    rest = Plan({node: slots for node, slots in plan.slots.items() if node not in dropped})
    return CAST_PRICE * sum(casts(value, rest) for value in values) + NODE_GAIN * len(dropped)


@pytest.mark.parametrize(
    ("body", "skipped"),
    [(BETWEEN_ISLANDS, {"a", "d"}), (BETWEEN_ISLANDS, set()), (DIAMOND, {"e", "i"}), (DIAMOND, {"i"}),
     (ISLAND, {"c"}), (ISLAND, set())],
)  # fmt: skip
def test_no_choice_is_cheaper(body: str, skipped: set[str]) -> None:
    plan = planned(body, skipped)
    values = plan.activations()
    light = [node for node in plan.slots if node.op_type not in HEAVY]
    best = min(
        price(plan, values, set(chosen))
        for count in range(len(light) + 1)
        for chosen in combinations(light, count)
    )
    dropped = costly_nodes(plan, HEAVY)
    assert set(dropped) <= set(light)
    assert price(plan, values, set(dropped)) == best


def test_a_chain_between_islands_goes_with_them() -> None:
    """One node by one nothing is gained: each only moves a cast."""
    assert [n.op_type for n in costly_nodes(planned(BETWEEN_ISLANDS, {"a", "d"}), HEAVY)] == ["Relu", "Neg"]


def test_measuring_a_shape_needs_no_cast() -> None:
    body = "{ a = MatMul(x, w) s = Shape(a) r = Reshape(a, s) y = MatMul(r, w) }"
    plan = planned(body, set())
    assert costly_nodes(plan, HEAVY) == []
    assert {node.op_type for node in plan.slots} == {"MatMul", "Shape", "Reshape"}
