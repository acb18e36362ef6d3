"""Multiply-accumulates per operator: the table from operator to counting rule.

1 MAC = one multiply-accumulate = 2 FLOPs. Counted are the products that are summed up: convolutions, matrix
products, recurrences and attention. Bias additions, normalization, activations, pooling, resizing and other
element-wise work are no MACs (see `zero_macs`). `#x` below is the number of elements of x.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from onnx_pare.cost.attention import (
    attention,
    decoder_attention,
    fused_attention,
    grouped_attention,
    linear_attention,
    multi_head_attention,
    ordered_attention,
    quantized_attention,
)
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


def gated_blocks(call: Call) -> int:
    """2 · #output · K: the gate's product and the one that it gates."""
    return 2 * matmul_blocks(call)


def query_key_value_blocks(call: Call) -> int:
    """rows · (Nq + 2·Nkv) · K."""
    width = call.integer("Nq", 0) + 2 * call.integer("Nkv", 0)
    return prod(call.input(0)[:-1]) * width * call.integer("K", 0)


def experts(call: Call, weights: tuple[int, ...] = (2, 4, 6)) -> int:
    """tokens · k · (#W1 + #W2 + #W3) / experts: each token goes through k; W is experts × out × in."""
    shapes = [call.optional(position) for position in weights]
    tokens = prod(call.input(0)[:-1])
    return tokens * call.integer("k", 1) * sum(prod(shape[1:]) for shape in shapes if shape)


def packed_experts(call: Call) -> int:
    """As `experts`, with the weights of `expert_weight_bits` packed in bytes."""
    return experts(call, (2, 5, 8)) * 8 // call.integer("expert_weight_bits", 4)


def coefficients(call: Call, name: str = "coefficients") -> int:
    """rows · #coefficients, those being an attribute."""
    shape = call.input(0)
    rows = shape[0] if len(shape) > 1 else 1
    return rows * len(call.node.attributes.get_floats(name, ()))


def support_vectors(call: Call) -> int:
    """rows · #support vectors: the kernel function of each; of a linear one its coefficients."""
    return coefficients(call, "support_vectors") or coefficients(call)


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
    "LinearAttention": Rule(linear_attention, ()),
    "CausalConvWithState": Rule(conv),
    "ai.onnx.preview:FlexAttention": Rule(attention, ()),
    "ai.onnx.ml:LinearClassifier": Rule(coefficients, ()),
    "ai.onnx.ml:LinearRegressor": Rule(coefficients, ()),
    "ai.onnx.ml:SVMClassifier": Rule(support_vectors, ()),
    "ai.onnx.ml:SVMRegressor": Rule(support_vectors, ()),
    "com.microsoft:FusedConv": Rule(conv),
    "com.microsoft:NhwcConv": Rule(conv, ()),
    "com.microsoft:NhwcFusedConv": Rule(conv, ()),
    "com.microsoft:CausalConvWithState": Rule(conv, ()),
    "com.microsoft:ConvTransposeWithDynamicPads": Rule(conv_transpose),
    "com.microsoft:QLinearConv": Rule(_quantized_conv, (0, 3)),
    "com.microsoft:FusedGemm": Rule(gemm),
    "com.microsoft:GemmFastGelu": Rule(matmul),
    "com.microsoft:GemmFloat8": Rule(gemm),
    "com.microsoft:QGemm": Rule(gemm, (0, 3)),
    "com.microsoft:FusedMatMul": Rule(fused_matmul),
    "com.microsoft:FusedMatMulActivation": Rule(fused_matmul),
    "com.microsoft:TransposeMatMul": Rule(fused_matmul),
    "com.microsoft:MatMulInteger16": Rule(matmul),
    "com.microsoft:MatMulIntegerToFloat": Rule(matmul),
    "com.microsoft:DynamicQuantizeMatMul": Rule(matmul),
    "com.microsoft:MatMulNBits": Rule(matmul_blocks),
    "com.microsoft:MatMulNBitsMlp": Rule(gated_blocks, ()),
    "com.microsoft:MatMulNBitsQkv": Rule(query_key_value_blocks, ()),
    "com.microsoft:MatMulBnb4": Rule(matmul, ()),
    "com.microsoft:MatMulFpQ4": Rule(matmul, ()),
    "com.microsoft:MatMulBlockQuantizedFp4Weight": Rule(matmul, ()),
    "com.microsoft:MatMulBlockQuantizedFp8Weight": Rule(matmul, ()),
    "com.microsoft:QOrderedMatMul": Rule(matmul, ()),
    "com.microsoft:CDist": Rule(matmul, ()),
    "com.microsoft:MoE": Rule(experts, ()),
    "com.microsoft:QMoE": Rule(packed_experts, ()),
    "com.microsoft:DynamicQuantizeLSTM": Rule(recurrent, (1, 2)),
    "com.microsoft:Attention": Rule(fused_attention, ()),
    "com.microsoft:QAttention": Rule(quantized_attention, ()),
    "com.microsoft:MultiHeadAttention": Rule(multi_head_attention, ()),
    "com.microsoft:DecoderMaskedMultiHeadAttention": Rule(decoder_attention, ()),
    "com.microsoft:DecoderMaskedSelfAttention": Rule(fused_attention, ()),
    "com.microsoft:GroupQueryAttention": Rule(grouped_attention, ()),
    "com.microsoft:LinearAttention": Rule(linear_attention, ()),
    "com.microsoft:QOrderedAttention": Rule(ordered_attention, ()),
}
