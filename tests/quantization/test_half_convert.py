"""Conversion goes on until the runtime takes the model, and leaves no more float32 than that needs."""

from __future__ import annotations

from pathlib import Path

import onnx.parser
import onnx_ir as ir
import pytest

from onnx_pare.quantization import half_convert
from onnx_pare.quantization.half_convert import ConversionError, Source, settle
from onnx_pare.quantization.half_ranges import Ranges
from onnx_pare.quantization.half_slots import float_tensors

TEXT = """<ir_version: 8, opset_import: ["" : 17]> g (float[2,2] x) => (float[2,2] y)
<float[2,2] w = {1,2,3,4}, float[2,2] a, float[2,2] b, float[2,2] c, float[2,2] d, float[2,2] e> {
    [m] a = MatMul(x, w)
    [r1] b = Relu(a)
    [r2] c = Relu(b)
    [r3] d = Relu(c)
    [r4] e = Relu(d)
    [n] y = MatMul(e, w)
}"""


def source() -> Source:
    model = ir.from_proto(onnx.parser.parse_model(TEXT))
    return Source(model, float_tensors(model), set(), Ranges(), 2.0)


def halves(model: ir.Model) -> set[str]:
    return {node.name or "" for node in model.graph if node.outputs[0].dtype == ir.DataType.FLOAT16}


def test_loads_at_once(tmp_path: Path) -> None:
    made = settle(source(), tmp_path)
    assert len(made.plan.slots) == 6
    assert made.refused == frozenset()
    assert list(tmp_path.iterdir()) == []


def test_a_crash_leaves_one_node_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(model: ir.Model, scratch: Path) -> str:
        return "crashed (SIGSEGV)" if "r3" in halves(model) else ""

    monkeypatch.setattr(half_convert, "refusal", refusal)
    made = settle(source(), tmp_path)
    assert made.refused == {"r3"}
    assert halves(made.model) >= {"m", "r1", "r2", "r4"}


def test_what_stays_refused_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_convert, "refusal", lambda model, scratch: "no such kernel")
    with pytest.raises(ConversionError, match="no such kernel"):
        settle(source(), tmp_path)


def test_types_are_checked_before_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_convert, "write_halves", lambda model, plan: broken(model))
    with pytest.raises(ConversionError, match=r"edge 'a' is declared float16, and node 'm' \(MatMul\) makes"):
        settle(source(), tmp_path)


def broken(model: ir.Model) -> None:
    model.graph.node("m").outputs[0].type = ir.TensorType(ir.DataType.FLOAT16)
