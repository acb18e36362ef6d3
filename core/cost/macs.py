"""Multiply-accumulates per operator: the table from operator to counting rule.

1 MAC = one multiply-accumulate = 2 FLOPs. Counted are the products that are summed up: convolutions, matrix
products, recurrences and attention. Bias additions, normalization, activations, pooling, resizing and other
element-wise work are no MACs (see `zero_macs`). `#x` below is the number of elements of x.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from onnx_pare.cost.attention import attention, fused_attention, multi_head_attention, quantized_attention
from onnx_pare.cost.call import Call
from onnx_pare.cost.einsum import einsum


@dataclass(frozen=True)
class Rule:
    """How an operator is counted.

    Attributes:
        count: The MACs of one call; raises UncountedError where a shape is unknown.
        operands: Positions of the inputs that every MAC multiplies, so that a zero there spares MACs.
    """

    count: Callable[[Call], int]
    operands: tuple[int, ...] = (0, 1)


def conv(call: Call, weight: int = 1) -> int:
    """#output · Cin/groups · kernel; the weight is Cout × Cin/groups × kernel."""
    return prod(call.output()) * prod(call.input(weight)[1:])


def conv_transpose(call: Call) -> int:
    """#input · Cout/groups · kernel; the weight is Cin × Cout/groups × kernel."""
    return prod(call.input(0)) * prod(call.input(1)[1:])


def matmul(call: Call) -> int:
    """#output · K, K being the length of the rows of A."""
    return prod(call.output()) * call.input(0)[-1]


def fused_matmul(call: Call) -> int:
    """#output · K, where A may come transposed, its batch dimension included."""
    shape = call.input(0)
    if not call.integer("transA", 0):
        return prod(call.output()) * shape[-1]
    return prod(call.output()) * shape[0 if call.integer("transBatchA", 0) else -2]


def gemm(call: Call) -> int:
    """#output · K."""
    return prod(call.output()) * call.input(0)[0 if call.integer("transA", 0) else 1]


def matmul_blocks(call: Call) -> int:
    """#output · K; the packed weight's shape says nothing, the attribute K does."""
    return prod(call.output()) * call.integer("K", 0)


def recurrent(call: Call) -> int:
    """steps · batch · (#W + #R): each direction's gates multiply the step's input and the state once."""
    steps, batch = call.input(0)[:2]
    return steps * batch * (prod(call.input(1)) + prod(call.input(2)))


def _quantized_conv(call: Call) -> int:
    return conv(call, weight=3)


MACS: Mapping[str, Rule] = {
    "Conv": Rule(conv),
    "ConvInteger": Rule(conv),
    "ConvTranspose": Rule(conv_transpose),
    "DeformConv": Rule(conv),
    "QLinearConv": Rule(_quantized_conv, (0, 3)),
    "Gemm": Rule(gemm),
    "MatMul": Rule(matmul),
    "MatMulInteger": Rule(matmul),
    "QLinearMatMul": Rule(matmul, (0, 3)),
    "LSTM": Rule(recurrent, (1, 2)),
    "GRU": Rule(recurrent, (1, 2)),
    "RNN": Rule(recurrent, (1, 2)),
    "Einsum": Rule(einsum),
    "Attention": Rule(attention, ()),
    "com.microsoft:FusedConv": Rule(conv),
    "com.microsoft:QLinearConv": Rule(_quantized_conv, (0, 3)),
    "com.microsoft:FusedGemm": Rule(gemm),
    "com.microsoft:QGemm": Rule(gemm, (0, 3)),
    "com.microsoft:FusedMatMul": Rule(fused_matmul),
    "com.microsoft:TransposeMatMul": Rule(fused_matmul),
    "com.microsoft:MatMulInteger16": Rule(matmul),
    "com.microsoft:MatMulIntegerToFloat": Rule(matmul),
    "com.microsoft:DynamicQuantizeMatMul": Rule(matmul),
    "com.microsoft:MatMulNBits": Rule(matmul_blocks),
    "com.microsoft:DynamicQuantizeLSTM": Rule(recurrent, (1, 2)),
    "com.microsoft:Attention": Rule(fused_attention, ()),
    "com.microsoft:QAttention": Rule(quantized_attention, ()),
    "com.microsoft:MultiHeadAttention": Rule(multi_head_attention, ()),
}
