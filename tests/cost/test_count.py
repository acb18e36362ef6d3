from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

MATMUL = "y = MatMul(x, w)"
WEIGHT = {"w": np.ones((4, 4), np.float32)}


def test_summary_and_totals_have_the_keys_of_the_reports(counted: Any) -> None:
    cost = counted(f"g (float[2,4] x, float[4,4] w) => (float[a,b] y) {{ {MATMUL} }}", WEIGHT)
    assert cost.summary(123) == {
        "size_bytes": 123,
        "params": 16,
        "nonzero_params": 16,
        "macs": 32,
        "effective_macs": 32,
        "peak_activation_bytes": 64,
        "nodes": 1,
        "uncounted_ops": [],
    }
    assert cost.totals()["flops"] == 64
    assert cost.totals()["weight_bytes"] == 64
    assert cost.totals()["activation_bytes"] == 64
    row = cost.rows[0]
    assert (row.output_shape, row.dtype, row.weight_bytes) == ((2, 4), "float32", 64)
    assert (row.read_bytes, row.written_bytes) == (32, 32)


def test_what_depends_on_no_input_costs_nothing(counted: Any) -> None:
    cost = counted(
        """g (float[2,4] x, float[4,4] w) => (float[a,b] y) {
            v = MatMul(w, w)
            y = MatMul(x, v)
        }""",
        WEIGHT,
    )
    assert cost.macs == 32


def test_random_numbers_are_not_constant(counted: Any) -> None:
    cost = counted(
        "g (float[2,4] x) => (float[a,b] y) { r = RandomNormal <shape = [4, 4]> () y = MatMul(x, r) }"
    )
    assert (cost.macs, cost.params) == (32, 0)
    assert [row.op for row in cost.rows] == ["RandomNormal", "MatMul"]


IF = """g (float[2,4] x, bool c, float[4,4] w) => (float[a,b] y) {{
    {condition}
    y = If (flag) <
        then_branch = t () => (float[a,b] o) {{ o = MatMul(x, w) }},
        else_branch = e () => (float[a,b] p) {{ h = MatMul(x, w) p = MatMul(h, w) }}
    >
}}"""


def test_the_dearer_branch_counts(counted: Any) -> None:
    cost = counted(IF.format(condition="flag = Not(c)"), WEIGHT)
    assert [(row.op, row.macs, row.params) for row in cost.rows] == [("Not", 0, 0), ("If", 64, 16)]
    assert cost.params == 16


def test_of_a_known_condition_only_the_branch_taken_counts(counted: Any) -> None:
    condition = "s = Size(x) eight = Constant <value_int = 8> () flag = Equal(s, eight)"
    assert counted(IF.format(condition=condition), WEIGHT).macs == 32


LOOP = """g (float[2,4] x, int64 n, float[4,4] w) => (float[2,4] y) {{
    {trips}
    go = Constant <value = bool {{1}}> ()
    y = Loop (trips, go, x) <body = b (int64 i, bool c, float[2,4] s) => (bool c2, float[2,4] s2) {{
        c2 = Identity(c)
        s2 = MatMul(s, w)
    }}>
}}"""


def test_a_loop_counts_its_body_for_each_trip(counted: Any) -> None:
    cost = counted(LOOP.format(trips="trips = Constant <value_int = 5> ()"), WEIGHT)
    assert (cost.macs, cost.params, cost.uncounted) == (5 * 32, 16, ())


def test_a_loop_of_unknown_length_is_uncounted(counted: Any) -> None:
    cost = counted(LOOP.format(trips="trips = Identity(n)"), WEIGHT)
    assert cost.uncounted_ops == ["Loop"]
    assert cost.uncounted[0].reason == "32 MACs a trip, but the number of trips depends on the data"
    assert cost.rows[-1].macs is None


def test_uncounted_operators_in_subgraphs_are_listed(counted: Any) -> None:
    cost = counted(
        """g (float[2,2] x, bool c) => (float y) {
            y = If (c) <
                then_branch = t () => (float o) { o = Det(x) },
                else_branch = e () => (float p) { d = Det(x) p = Det(x) }
            >
        }"""
    )
    assert [(entry.op, entry.nodes) for entry in cost.uncounted] == [("Det", 3)]


def test_functions_count_as_what_they_are_made_of() -> None:
    from onnx_pare.cost.count import count
    from onnx_pare.graph.shapes import infer, input_shapes

    model = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[2,4] x, float[4,4] w) => (float[a,b] y) { h = own.twice(x, w) y = own.twice(h, w) }
        <domain: "own", opset_import: ["" : 17]>
        twice (a, m) => (b) { h = MatMul(a, m) b = MatMul(h, m) }"""
    )
    assert count(model, infer(model, input_shapes(model))).macs == 4 * 32


def test_shapes_scale_with_the_batch(counted: Any) -> None:
    text = "g (float[N,4] x, float[4,4] w) => (float[N,4] y) { y = MatMul(x, w) }"
    assert counted(text, WEIGHT, x=(8, 4)).macs == 4 * counted(text, WEIGHT, x=(2, 4)).macs


@pytest.mark.parametrize("name", ["macs", "zero_macs"])
def test_tables_name_operators_that_exist(name: str) -> None:
    import onnx.defs

    from onnx_pare.cost.macs import MACS
    from onnx_pare.cost.zero_macs import ZERO_MACS

    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    ours = {op for op in (MACS if name == "macs" else ZERO_MACS) if ":" not in op}
    assert ours - known <= {
        "SimplifiedLayerNormalization",
        "BitCast",
        "CumProd",
        "SwiGLU",
        "Swish",
        "TensorScatter",
    }
