"""A type that does not fit is found on whichever edge it is, and named."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir
import pytest

from onnx_pare.quantization.half_check import type_conflicts

GOOD = """(float[2,2] x, bool c) => (float[2,2] y) <float16[2,2] w = {1,2,3,4}> {
    [down] h = Cast <to = 10> (x)
    [product] k = MatMul(h, w)
    [branch] b = If (c) <
        then_branch = t () => (float16[2,2] p) { [inner] p = Relu(k) },
        else_branch = e () => (float16[2,2] q) { q = Neg(k) }>
    [up] y = Cast <to = 1> (b)
}"""


def conflicts(body: str) -> list[str]:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g {body}'
    return type_conflicts(ir.from_proto(onnx.parser.parse_model(text)))


def test_good() -> None:
    assert conflicts(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "edge", "node"),
    [
        ("Cast <to = 10> (x)", "Relu(x)", "w", "product"),
        ("Cast <to = 1> (b)", "Relu(b)", "y", "up"),
        ("p = Relu(k)", "p = Cast <to = 1> (k)", "p", "inner"),
        ("float16[2,2] w", "float[2,2] w", "w", "product"),
        ("[inner] p = Relu(k)", "[inner] p = Add(k, x)", "x", "inner"),
        ("MatMul(h, w)", "Not(h)", "h", "product"),
    ],
)
def test_bad(old: str, new: str, edge: str, node: str) -> None:
    assert old in GOOD
    found = conflicts(GOOD.replace(old, new))
    assert any(f"edge '{edge}'" in conflict and f"'{node}'" in conflict for conflict in found), found


def test_declared_types_count() -> None:
    body = "(float[2] x) => (float[2] y) <float16[2] h> { [n] h = Relu(x) [m] y = Neg(h) }"
    assert conflicts(body) == ["edge 'h' is declared float16, and node 'n' (Relu) makes float"]


def test_operators_of_others_count_as_declared() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[2] x) => (float16[2] y) <float16[2] h> { h = com.microsoft.Gelu(x) y = Neg(h) }"""
    assert type_conflicts(ir.from_proto(onnx.parser.parse_model(text))) == []
