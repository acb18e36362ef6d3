"""Masks that only Softmax sees are softened, all other constants stay."""

from __future__ import annotations

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from onnx_pare.graph.edit import constant
from onnx_pare.quantization.half_masks import MASK, soften_masks

BODY = """(float[4,4] x, bool[4,4] c) => (float[4,4] y) <float low = {%s}> {
    t = Where(c, x, low)
    r = Reshape(t, s)
    y = Softmax(r)
}"""


def build(body: str) -> ir.Model:
    body = body.replace("> {", ", int64[2] s = {4, 4}> {", 1)
    return ir.from_proto(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {body}'))


@pytest.mark.parametrize(("number", "softened"), [("-1e9", 1), ("-3.4e38", 1), ("-1e4", 0), ("1e9", 0)])
def test_low_numbers_before_softmax(number: str, softened: int) -> None:
    model = build(BODY % number)
    assert soften_masks(model) == softened
    mask = constant(model.graph.node(0).inputs[2])
    assert mask is not None
    assert mask == np.float32(MASK if softened else float(number))


def test_infinities_stay() -> None:
    model = build(BODY % "0")
    low = model.graph.initializers["low"]
    low.const_value = ir.tensor(np.float32(-np.inf), name="low")
    assert soften_masks(model) == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [("Softmax(r)", "Identity(r)"), ("Softmax(r)", "LogSoftmax(r)"), ("Reshape(t, s)", "Relu(t)"),
     ("y = Softmax(r)", "n = Neg(t) m = Add(n, r) y = Softmax(m)")],
)  # fmt: skip
def test_other_readers(old: str, new: str) -> None:
    assert old in BODY
    assert soften_masks(build((BODY % "-1e9").replace(old, new))) == 0


def test_a_constant_read_elsewhere_keeps_its_number_there() -> None:
    model = build((BODY % "-1e9").replace("y = Softmax(r)", "p = Softmax(r) y = Max(p, low)"))
    assert soften_masks(model) == 1
    largest = model.graph.node(3)
    assert constant(largest.inputs[1]) == np.float32(-1e9)
