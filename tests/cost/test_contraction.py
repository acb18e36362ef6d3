"""Along which axis operands are summed up."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.cost.contraction import along_summed, summed_axis
from onnx_pare.cost.macs import MACS


def node(text: str) -> ir.Node:
    opsets = '"" : 17, "com.microsoft" : 1'
    return next(iter(ir.from_onnx_text(f"<ir_version: 8, opset_import: [{opsets}]> g (float x, float w) "
                                       f"=> (float y) {{ y = {text} (x, w) }}").graph))  # fmt: skip


@pytest.mark.parametrize(
    ("text", "data", "weight"),
    [
        ("Conv", 1, 1),
        ("ConvTranspose", 1, 0),
        ("MatMul", -1, -2),
        ("Gemm <transA = 1>", -2, -2),
        ("Gemm <transB = 1>", -1, -1),
        ("com.microsoft.FusedMatMul <transA = 1, transB = 1>", -2, -1),
        ("Einsum", None, None),
    ],
)
def test_axes(text: str, data: int | None, weight: int | None) -> None:
    assert (summed_axis(node(text), 0), summed_axis(node(text), 1)) == (data, weight)


def test_every_layer_with_two_operands_has_axes_or_a_reason() -> None:
    layers = {op for op, rule in MACS.items() if rule.operands}
    unknown = {op for op in layers if summed_axis(_named(op), 0) is None}
    # recurrent nets add up two products, Einsum says by itself what it does
    assert unknown == {"Einsum", "GRU", "LSTM", "RNN", "com.microsoft:DynamicQuantizeLSTM"}


def test_grouped_inputs_meet_their_own_outputs() -> None:
    weight = np.arange(24).reshape(6, 2, 1, 2)
    rows = along_summed(node("Conv <group = 2>"), 1, weight)
    assert rows is not None
    assert rows[:, 0].tolist() == [0, 2, 12, 14]
    np.testing.assert_array_equal(rows[3], weight[3:, 1].ravel())


def test_a_vector_is_summed_up_along_its_only_axis() -> None:
    rows = along_summed(node("MatMul"), 1, np.arange(3))
    assert rows is not None
    assert rows.tolist() == [[0], [1], [2]]
    assert along_summed(node("Einsum"), 1, np.arange(3)) is None


def _named(op: str) -> ir.Node:
    domain, _, name = op.rpartition(":")
    return ir.Node(domain, name, [])
