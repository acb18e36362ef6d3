"""Every counting rule against a figure worked out by hand, and whole networks against published ones."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx.defs
import onnx_ir as ir
import pytest

from onnx_pare.cost.call import Call
from onnx_pare.cost.macs import MACS
from onnx_pare.cost.uncountable import UNCOUNTABLE
from onnx_pare.cost.zero_macs import ZERO_MACS
from onnx_pare.graph.tensor_info import TensorInfo

ROOT = Path(__file__).resolve().parents[2]


def ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def test_depthwise_and_pointwise(counted: Any) -> None:
    cost = counted(
        "g (float[1,64,112,112] x, float[64,1,3,3] w, float[128,64,1,1] v) => (float[1,128,112,112] y) {"
        "d = Conv <group = 64, pads = [1,1,1,1]> (x, w) y = Conv(d, v) }",
        {"w": ones(64, 1, 3, 3), "v": ones(128, 64, 1, 1)},
    )
    assert [row.macs for row in cost.rows] == [7_225_344, 102_760_448]
    assert cost.macs == 109_985_792


def test_the_regular_convolution_they_replace(counted: Any) -> None:
    cost = counted(
        "g (float[1,64,112,112] x, float[128,64,3,3] w) => (float[1,128,112,112] y) {"
        "y = Conv <pads = [1,1,1,1]> (x, w) }",
        {"w": ones(128, 64, 3, 3)},
    )
    assert cost.macs == 924_844_032


CASES: dict[str, tuple[str, dict[str, np.ndarray], int]] = {
    # 2·5·3·3 outputs, each 4/2·3·3 products
    "Conv": (
        "g (float[2,4,5,5] x, float[6,2,3,3] w) => (float[a,b,c,d] y) { y = Conv <group = 2> (x, w) }",
        {"w": ones(6, 2, 3, 3)},
        2 * 6 * 9 * 2 * 9,
    ),
    # 1·4·5·5 inputs, each spread over 6/2·3·3
    "ConvTranspose": (
        "g (float[1,4,5,5] x, float[4,3,3,3] w) => (float[a,b,c,d] y) {"
        " y = ConvTranspose <group = 2, strides = [2,2]> (x, w) }",
        {"w": ones(4, 3, 3, 3)},
        100 * 27,
    ),
    "ConvInteger": (
        "g (uint8[1,4,5,5] x, uint8[6,4,3,3] w) => (int32[a,b,c,d] y) { y = ConvInteger(x, w) }",
        {"w": ones(6, 4, 3, 3, dtype=np.uint8)},
        6 * 9 * 36,
    ),
    "QLinearConv": (
        "g (uint8[1,4,5,5] x, float s, uint8 z, uint8[6,4,3,3] w) => (uint8[a,b,c,d] y) {"
        " y = QLinearConv(x, s, z, w, s, z, s, z) }",
        {"w": ones(6, 4, 3, 3, dtype=np.uint8), "s": ones(), "z": ones(dtype=np.uint8)},
        6 * 9 * 36,
    ),
    # offsets: 2·3·3 planes of the output's 3×3
    "DeformConv": (
        "g (float[1,4,5,5] x, float[6,4,3,3] w, float[1,18,3,3] o) => (float[a,b,c,d] y) {"
        " y = DeformConv <kernel_shape = [3,3]> (x, w, o) }",
        {"w": ones(6, 4, 3, 3)},
        6 * 9 * 36,
    ),
    "Gemm": (
        "g (float[7,3] x, float[5,7] w) => (float[a,b] y) { y = Gemm <transA = 1, transB = 1> (x, w) }",
        {"w": ones(5, 7)},
        3 * 5 * 7,
    ),
    "MatMul": (
        "g (float[2,3,4,5] x, float[3,5,6] w) => (float[a,b,c,d] y) { y = MatMul(x, w) }",
        {},
        2 * 3 * 4 * 6 * 5,
    ),
    "MatMulInteger": (
        "g (uint8[4,5] x, uint8[5,6] w) => (int32[a,b] y) { y = MatMulInteger(x, w) }",
        {"w": ones(5, 6, dtype=np.uint8)},
        4 * 5 * 6,
    ),
    "QLinearMatMul": (
        "g (uint8[4,5] x, float s, uint8 z, uint8[5,6] w) => (uint8[a,b] y) {"
        " y = QLinearMatMul(x, s, z, w, s, z, s, z) }",
        {"w": ones(5, 6, dtype=np.uint8), "s": ones(), "z": ones(dtype=np.uint8)},
        4 * 5 * 6,
    ),
    # 9 steps, batch 2, both directions, 4 gates of 6, from 5 inputs and 6 states
    "LSTM": (
        "g (float[9,2,5] x, float[2,24,5] w, float[2,24,6] r) => (float[a,b,c,d] y) {"
        ' y = LSTM <hidden_size = 6, direction = "bidirectional"> (x, w, r) }',
        {"w": ones(2, 24, 5), "r": ones(2, 24, 6)},
        9 * 2 * 2 * 4 * 6 * (5 + 6),
    ),
    "GRU": (
        "g (float[9,2,5] x, float[1,18,5] w, float[1,18,6] r) => (float[a,b,c,d] y) {"
        " y = GRU <hidden_size = 6> (x, w, r) }",
        {"w": ones(1, 18, 5), "r": ones(1, 18, 6)},
        9 * 2 * 3 * 6 * (5 + 6),
    ),
    "RNN": (
        "g (float[9,2,5] x, float[1,6,5] w, float[1,6,6] r) => (float[a,b,c,d] y) {"
        " y = RNN <hidden_size = 6> (x, w, r) }",
        {"w": ones(1, 6, 5), "r": ones(1, 6, 6)},
        9 * 2 * 6 * (5 + 6),
    ),
    "Einsum": (
        "g (float[2,3,4] x, float[2,5,4] w) => (float[a,b,c] y) {"
        ' y = Einsum <equation = "bik, bjk -> bij"> (x, w) }',
        {},
        2 * 3 * 4 * 5,
    ),
    "com.microsoft:FusedConv": (
        "g (float[1,4,5,5] x, float[6,4,3,3] w) => (float[a,b,c,d] y) {"
        ' y = com.microsoft.FusedConv <activation = "Relu"> (x, w) }',
        {"w": ones(6, 4, 3, 3)},
        6 * 9 * 36,
    ),
    "com.microsoft:FusedGemm": (
        "g (float[3,7] x, float[7,5] w, float[5] b) => (float[a,c] y) {"
        ' y = com.microsoft.FusedGemm <activation = "Relu"> (x, w, b) }',
        {"w": ones(7, 5), "b": ones(5)},
        3 * 5 * 7,
    ),
    "com.microsoft:FusedMatMul": (
        "g (float[2,7,3] x, float[2,7,5] w) => (float[a,b,c] y) {"
        " y = com.microsoft.FusedMatMul <transA = 1> (x, w) }",
        {},
        2 * 3 * 5 * 7,
    ),
    "com.microsoft:QGemm": (
        "g (uint8[3,7] x, float s, uint8 z, uint8[7,5] w, int32[5] b) => (uint8[a,c] y) {"
        " y = com.microsoft.QGemm(x, s, z, w, s, z, b, s, z) }",
        {
            "w": ones(7, 5, dtype=np.uint8),
            "b": ones(5, dtype=np.int32),
            "s": ones(),
            "z": ones(dtype=np.uint8),
        },
        3 * 5 * 7,
    ),
    "com.microsoft:DynamicQuantizeMatMul": (
        "g (float[3,7] x, uint8[7,5] w, float s) => (float[a,c] y) {"
        " y = com.microsoft.DynamicQuantizeMatMul(x, w, s) }",
        {"w": ones(7, 5, dtype=np.uint8), "s": ones()},
        3 * 5 * 7,
    ),
    "com.microsoft:MatMulIntegerToFloat": (
        "g (uint8[3,7] x, uint8[7,5] w, float s) => (float[a,c] y) {"
        " y = com.microsoft.MatMulIntegerToFloat(x, w, s, s) }",
        {"w": ones(7, 5, dtype=np.uint8), "s": ones()},
        3 * 5 * 7,
    ),
    # K = 40 in blocks of 32: two blocks of 16 bytes
    "com.microsoft:MatMulNBits": (
        "g (float[3,40] x, uint8[5,2,16] w, float[10] s) => (float[a,c] y) {"
        " y = com.microsoft.MatMulNBits <K = 40, N = 5, bits = 4, block_size = 32> (x, w, s) }",
        {"w": ones(5, 2, 16, dtype=np.uint8), "s": ones(10)},
        3 * 40 * 5,
    ),
    "com.microsoft:DynamicQuantizeLSTM": (
        "g (float[9,2,5] x, uint8[1,5,24] w, uint8[1,6,24] r, float[1] s, uint8[1] z) => (float[a,b,c,d] y) {"
        "y = com.microsoft.DynamicQuantizeLSTM <hidden_size = 6> (x, w, r, , , , , , s, z, s, z) }",
        {
            "w": ones(1, 5, 24, dtype=np.uint8),
            "r": ones(1, 6, 24, dtype=np.uint8),
            "s": ones(1),
            "z": ones(1, dtype=np.uint8),
        },
        9 * 2 * 4 * 6 * (5 + 6),
    ),
    # projections of 2·7 tokens from 8 to 3·8, then 7×7 scores over 8 and back, for each sequence
    "com.microsoft:Attention": (
        "g (float[2,7,8] x, float[8,24] w, float[24] b) => (float[a,c,d] y) {"
        " y = com.microsoft.Attention <num_heads = 2> (x, w, b) }",
        {"w": ones(8, 24), "b": ones(24)},
        2 * 7 * 8 * 24 + 2 * 2 * 7 * 7 * 8,
    ),
    "com.microsoft:QAttention": (
        "g (uint8[2,7,8] x, uint8[8,24] w, float[24] b, float s) => (float[a,c,d] y) {"
        " y = com.microsoft.QAttention <num_heads = 2> (x, w, b, s, s) }",
        {"w": ones(8, 24, dtype=np.uint8), "b": ones(24), "s": ones()},
        2 * 7 * 8 * 24 + 2 * 2 * 7 * 7 * 8,
    ),
    "com.microsoft:MultiHeadAttention": (
        "g (float[2,7,8] q, float[2,9,8] k, float[2,9,12] v) => (float[a,c,d] y) {"
        " y = com.microsoft.MultiHeadAttention <num_heads = 2> (q, k, v) }",
        {},
        2 * 7 * 9 * (8 + 12),
    ),
}


@pytest.mark.parametrize("op", CASES)
def test_rule(op: str, counted: Any) -> None:
    text, weights, macs = CASES[op]
    cost = counted(text, weights, opset=19)
    assert cost.uncounted == ()
    assert [row.op for row in cost.rows] == [op]
    assert cost.macs == macs


def test_attention_of_opset_23(counted: Any) -> None:
    grouped = counted(
        "g (float[2,7,24] q, float[2,9,8] k, float[2,9,10] v) => (float[a,b,c] y) {"
        "y = Attention <q_num_heads = 6, kv_num_heads = 2> (q, k, v) }",
        opset=23,
    )
    assert grouped.macs == 2 * 6 * 7 * 9 * (4 + 5)
    four_dims = counted(
        "g (float[2,6,7,4] q, float[2,6,9,4] k, float[2,6,9,5] v) => (float[a,b,c,d] y) {"
        " y = Attention(q, k, v) }",
        opset=23,
    )
    assert four_dims.macs == 2 * 6 * 7 * 9 * (4 + 5)


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("ij,jk", [(2, 3), (3, 4)], 24),
        ("...ij,...jk->...ik", [(5, 6, 2, 3), (5, 6, 3, 4)], 5 * 6 * 24),
        ("ij->ji", [(2, 3)], 0),
        # first i·j·k, then i·k·l
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], 24 + 40),
    ],
)
def test_einsum(counted: Any, equation: str, shapes: list[tuple[int, ...]], macs: int) -> None:
    ports = ", ".join(f"float[{','.join(map(str, shape))}] x{i}" for i, shape in enumerate(shapes))
    names = ", ".join(f"x{i}" for i in range(len(shapes)))
    cost = counted(f'g ({ports}) => (float[N,M] y) {{ y = Einsum <equation = "{equation}"> ({names}) }}')
    assert cost.macs == macs


GQA = [(2, 7, 64), (2, 7, 16), (2, 7, 16)]
# what few runtimes have: operator -> attributes, shapes of inputs and outputs, MACs
SHAPES: dict[str, tuple[dict[str, Any], list[tuple[int, ...] | None], list[tuple[int, ...]], int]] = {
    # 2·7 queries of 8 heads of 8 over 12 keys of the cache
    "com.microsoft:GroupQueryAttention": (
        {"num_heads": 8, "kv_num_heads": 2},
        [*GQA, (2, 2, 5, 8), (2, 2, 5, 8)],
        [(2, 7, 64), (2, 2, 12, 8), (2, 2, 12, 8)],
        2 * 8 * 7 * 12 * (8 + 8),
    ),
    "com.microsoft:DecoderMaskedMultiHeadAttention": (
        {"num_heads": 2},
        [(2, 1, 8), (2, 1, 8), (2, 1, 8), None, None, (2, 2, 5, 4), (2, 2, 5, 4)],
        [(2, 1, 8)],
        2 * 1 * 6 * (8 + 8),
    ),
    "com.microsoft:DecoderMaskedSelfAttention": (
        {"num_heads": 2},
        [(2, 1, 8), (8, 24), (24,), None, (2, 2, 2, 5, 4)],
        [(2, 1, 8)],
        2 * (8 * 24 + 6 * 16),
    ),
    "com.microsoft:QOrderedAttention": (
        {"num_heads": 2},
        [(2, 7, 8), None, None, None, None, (8, 8), (8, 8), (8, 8)],
        [(2, 7, 8)],
        2 * 7 * 3 * 64 + 2 * 2 * 7 * 7 * 8,
    ),
    # 2·9 steps, 4 heads read a state of 3×5 each, 2 heads update it and read it for the delta rule
    "LinearAttention": (
        {"q_num_heads": 4, "kv_num_heads": 2},
        [(2, 9, 12), (2, 9, 6), (2, 9, 10)],
        [(2, 9, 20)],
        2 * 9 * 3 * 5 * (4 + 2 + 2),
    ),
    "com.microsoft:LinearAttention": (
        {"q_num_heads": 4, "kv_num_heads": 2, "update_rule": "gated"},
        [(2, 9, 12), (2, 9, 6), (2, 9, 10)],
        [(2, 9, 20)],
        2 * 9 * 3 * 5 * (4 + 2),
    ),
    "CausalConvWithState": ({}, [(2, 6, 9), (6, 1, 4)], [(2, 6, 9)], 2 * 6 * 9 * 4),
    "ai.onnx.preview:FlexAttention": (
        {},
        [(2, 6, 7, 4), (2, 3, 9, 4), (2, 3, 9, 5)],
        [(2, 6, 7, 5)],
        2 * 6 * 7 * 9 * (4 + 5),
    ),
    "ai.onnx.ml:LinearClassifier": ({"coefficients": [1.0] * 12}, [(5, 4)], [(5,), (5, 3)], 5 * 12),
    "ai.onnx.ml:LinearRegressor": ({"coefficients": [1.0] * 4}, [(5, 4)], [(5, 1)], 5 * 4),
    "ai.onnx.ml:SVMClassifier": ({"support_vectors": [1.0] * 28}, [(5, 4)], [(5,), (5, 3)], 5 * 28),
    "ai.onnx.ml:SVMRegressor": ({"coefficients": [1.0] * 4}, [(4,)], [(1,)], 4),
    # channels last: 9 positions of 6 outputs
    "com.microsoft:NhwcConv": ({}, [(1, 5, 5, 4), (6, 3, 3, 4)], [(1, 3, 3, 6)], 9 * 6 * 36),
    "com.microsoft:ConvTransposeWithDynamicPads": (
        {},
        [(1, 4, 5, 5), (4, 3, 3, 3)],
        [(1, 3, 7, 7)],
        100 * 27,
    ),
    "com.microsoft:GemmFloat8": ({"transB": 1}, [(3, 7), (5, 7)], [(3, 5)], 3 * 5 * 7),
    "com.microsoft:QOrderedMatMul": ({}, [(2, 3, 7), (), (7, 5)], [(2, 3, 5)], 2 * 3 * 5 * 7),
    "com.microsoft:MatMulNBitsMlp": ({"K": 40, "N": 5}, [(3, 40)], [(3, 5)], 2 * 3 * 5 * 40),
    "com.microsoft:MatMulNBitsQkv": (
        {"K": 40, "Nq": 8, "Nkv": 2},
        [(3, 40)],
        [(3, 8), (3, 2), (3, 2)],
        3 * 12 * 40,
    ),
    # each of 2·3 tokens goes through 2 of 4 experts, 8 -> 32 -> 8
    "com.microsoft:MoE": (
        {"k": 2},
        [(2, 3, 8), (6, 4), (4, 32, 8), None, (4, 8, 32)],
        [(2, 3, 8)],
        2 * 3 * 2 * 2 * 32 * 8,
    ),
    # the same, two weights a byte
    "com.microsoft:QMoE": (
        {"k": 2, "expert_weight_bits": 4},
        [(2, 3, 8), (6, 4), (4, 32, 4), (4, 32), None, (4, 8, 16)],
        [(2, 3, 8)],
        2 * 3 * 2 * 2 * 32 * 8,
    ),
}
SAME_RULE = {
    "com.microsoft:CDist": "MatMul",
    "com.microsoft:CausalConvWithState": "CausalConvWithState",
    "com.microsoft:FusedMatMulActivation": "com.microsoft:FusedMatMul",
    "com.microsoft:GemmFastGelu": "MatMul",
    "com.microsoft:MatMulBlockQuantizedFp4Weight": "MatMul",
    "com.microsoft:MatMulBlockQuantizedFp8Weight": "MatMul",
    "com.microsoft:MatMulBnb4": "MatMul",
    "com.microsoft:MatMulFpQ4": "MatMul",
    "com.microsoft:MatMulInteger16": "MatMul",
    "com.microsoft:NhwcFusedConv": "Conv",
    "com.microsoft:QLinearConv": "QLinearConv",
    "com.microsoft:TransposeMatMul": "com.microsoft:FusedMatMul",
}


@pytest.mark.parametrize("op", SHAPES)
def test_rule_by_shapes(op: str) -> None:
    attributes, inputs, outputs, macs = SHAPES[op]
    domain, _, name = op.rpartition(":")
    values = [None if shape is None else ir.Value(name=f"x{i}") for i, shape in enumerate(inputs)]
    given = ir.convenience.convert_attributes(attributes)
    node = ir.Node(domain, name, values, given, num_outputs=len(outputs))
    infos = [None if shape is None else TensorInfo("float32", shape) for shape in inputs]
    made = [TensorInfo("float32", shape) for shape in outputs]
    assert MACS[op].count(Call(node, infos, made)) == macs


def test_a_packed_query_counts_like_three(counted: Any) -> None:
    infos = [TensorInfo("float32", (2, 7, 96))]
    node = ir.Node(
        "com.microsoft",
        "GroupQueryAttention",
        [ir.Value(name="x")],
        ir.convenience.convert_attributes({"num_heads": 8, "kv_num_heads": 2}),
    )
    count = MACS["com.microsoft:GroupQueryAttention"].count
    assert count(Call(node, infos, [TensorInfo("float32", (2, 7, 64))])) == 2 * 8 * 7 * 7 * 16


def test_every_rule_has_a_hand_worked_case() -> None:
    assert set(MACS) == {*CASES, *SHAPES, *SAME_RULE, "Attention"}  # which has its own test
    assert all(MACS[op].count is MACS[other].count for op, other in SAME_RULE.items())


def test_no_operator_is_in_both_tables() -> None:
    assert not set(MACS) & ZERO_MACS


def operators_of_onnx() -> set[str]:
    """Return all of onnx's operators, of all domains and versions."""
    schemas = onnx.defs.get_all_schemas_with_history()
    return {f"{schema.domain}:{schema.name}" if schema.domain else schema.name for schema in schemas}


def test_every_operator_of_onnx_is_counted_or_has_a_reason() -> None:
    """What onnx's newest version adds shows up here: decide whether it multiplies."""
    control_flow = {"If", "Loop", "Scan", "SequenceMap"}  # counted by their bodies
    assert operators_of_onnx() - set(MACS) - ZERO_MACS - set(UNCOUNTABLE) == control_flow


def test_reasons_are_for_what_has_no_rule() -> None:
    assert not set(UNCOUNTABLE) & (set(MACS) | ZERO_MACS)


def test_unknown_operators_are_never_a_silent_zero(counted: Any) -> None:
    cost = counted("g (float[4,4] x) => (float d) { r = Relu(x) d = Det(r) }")
    assert [row.macs for row in cost.rows] == [0, None]
    assert cost.uncounted_ops == ["Det"]
    reason = "its multiplications depend on the algorithm"
    assert (cost.uncounted[0].nodes, cost.uncounted[0].reason) == (1, reason)


def load_benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_macs", ROOT / "benchmarks" / "macs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_published_figures(shared: Path) -> None:
    """A sample of the graphs; `benchmarks/macs.py` compares all of them."""
    folder = shared / "archs"
    if not (folder / "truth.csv").is_file():
        pytest.skip(f"no graphs at {folder} (set PARE_SHARED)")
    benchmark = load_benchmark()
    small = sorted(benchmark.cases(folder), key=lambda case: case.path.stat().st_size)[:200:8]
    assert len(small) == 25
    off = [case.name for case in small if case.is_off(benchmark.counted_macs(case.path))]
    assert off == []


def test_graphs_whose_published_figure_counts_another_graph_are_left_out(shared: Path) -> None:
    folder = shared / "archs"
    if not (folder / "truth.csv").is_file():
        pytest.skip(f"no graphs at {folder} (set PARE_SHARED)")
    with (folder / "truth.csv").open(encoding="utf-8") as file:
        rows = sum(1 for _ in csv.DictReader(file))
    assert 0.95 * rows < len(list(load_benchmark().cases(folder))) < rows
