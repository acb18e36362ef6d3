from __future__ import annotations

import onnx_ir as ir
import pytest

from onnx_pare.errors import UsageError
from onnx_pare.graph.select import select

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[2] x) => (float[2] z) {
  a = Relu(x)
  b = Neg(a)
  z = Softmax(b)
}
"""
NAMES = ("body/relu", "head/neg", "head/softmax")


def names(*selectors: str) -> set[str | None]:
    model = ir.from_onnx_text(MODEL)
    for node, name in zip(model.graph, NAMES, strict=True):
        node.name = name
    return {node.name for node in select(model.graph, selectors, "skip")}


@pytest.mark.parametrize(
    ("selectors", "chosen"),
    [
        ((), set()),
        (("head/*",), {"head/neg", "head/softmax"}),
        (("op:Relu",), {"body/relu"}),
        (("op:*",), {"body/relu", "head/neg", "head/softmax"}),
        (("head/neg", "op:Neg"), {"head/neg"}),
    ],
)
def test_chooses(selectors: tuple[str, ...], chosen: set[str]) -> None:
    assert names(*selectors) == chosen


@pytest.mark.parametrize(
    ("selector", "near"),
    [("head/sotfmax", "'head/softmax'"), ("op:Softmx", "'op:Softmax'"), ("HEAD/*", "'body/relu'")],
)
def test_a_selector_that_matches_nothing_is_an_error(selector: str, near: str) -> None:
    with pytest.raises(UsageError, match=r"skip: '.*' matches no node") as error:
        names("op:Relu", selector)
    assert near in error.value.hint
