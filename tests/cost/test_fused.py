from __future__ import annotations

from typing import Any

QDQ = """g (float[1,250] x) => (float[a,b] y) <float s = {{1}}, uint8 z = {{0}}> {{
    q = QuantizeLinear(x, s, z)
    d = DequantizeLinear(q, s, z)
    a = Add(d, d)
    r = Relu(a)
    {rest}
}}"""


def test_quantized_operators_store_no_float_tensors(counted: Any) -> None:
    rest = "p = QuantizeLinear(r, s, z) e = DequantizeLinear(p, s, z) b = Add(e, e) y = Identity(b)"
    cost = counted(QDQ.format(rest=rest))
    # x, q, p in bytes; e and b are floats, since b is not quantized
    assert cost.activation_bytes == 1000 + 250 + 250 + 1000 + 1000
    assert cost.peak_activation_bytes == 2000


def test_operators_that_end_in_floats_store_them(counted: Any) -> None:
    cost = counted(QDQ.format(rest="y = Identity(r)"))
    assert cost.activation_bytes == 1000 + 250 + 1000 + 1000 + 1000
    assert cost.peak_activation_bytes == 2000


def test_a_float_reader_keeps_the_floats(counted: Any) -> None:
    rest = "p = QuantizeLinear(r, s, z) y = Add(r, d)"
    cost = counted(QDQ.format(rest=rest))
    # x, q, d, a, r (which two nodes read), p and y
    assert cost.activation_bytes == 5 * 1000 + 2 * 250


def test_a_product_of_bytes_may_end_in_floats(counted: Any) -> None:
    text = """g (float[1,250] x, int8[250,10] w) => (float[a,b] y)
        <float s = {1}, uint8 z = {0}, int8 o = {0}> {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        v = DequantizeLinear(w, s, o)
        m = MatMul(d, v)
        y = Erf(m)
    }"""
    # x, q, w, m and y: d and v are never stored
    assert counted(text).activation_bytes == 1000 + 250 + 2500 + 40 + 40
