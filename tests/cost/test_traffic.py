from __future__ import annotations

from typing import Any


def test_views_move_nothing_and_a_tensor_is_read_once(counted: Any) -> None:
    cost = counted(
        """g (float[2,4] x, bool c) => (float[a,b] y) {
            v = Flatten(x)
            s = Add(v, v)
            y = If (c) <
                then_branch = t () => (float[a,b] o) { o = Mul(s, x) },
                else_branch = e () => (float[a,b] p) { p = Relu(s) } >
        }"""
    )
    assert [(row.read_bytes, row.written_bytes) for row in cost.rows] == [(0, 0), (32, 32), (32 + 32 + 1, 32)]


def test_tensors_that_are_stored_as_integers_count_as_such(counted: Any) -> None:
    cost = counted(
        """g (float[2,4] x) => (float[a,b] y) <float s = {1}, uint8 z = {0}> {
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            a = Add(d, d)
            p = QuantizeLinear(a, s, z)
            y = DequantizeLinear(p, s, z)
        }"""
    )
    moved = {row.op: (row.read_bytes, row.written_bytes) for row in cost.rows[2:]}
    assert moved == {"Add": (8, 8), "QuantizeLinear": (0, 0), "DequantizeLinear": (8, 32)}
    assert [(row.read_bytes, row.written_bytes) for row in cost.rows[:2]] == [(32, 8), (0, 0)]
