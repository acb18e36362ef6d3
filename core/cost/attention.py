"""Multiply-accumulates of the attention operators.

Attention itself is two products: scores = Q·Kᵀ, and scores·V. With B sequences, H heads, Sq queries, Skv keys
(those of the cache included), and head sizes d of Q and K, dv of V:

    MACs = B · H · Sq · Skv · (d + dv)

Masked-out positions are counted: kernels compute them. The softmax is none.
"""

from __future__ import annotations

from math import prod

from onnx_pare.cost.call import Call


def attention(call: Call) -> int:
    """Count ai.onnx's Attention: Q (B, H, Sq, d) or (B, Sq, H·d), K and V alike; past keys are input 4."""
    query, key, value = (call.input(position) for position in range(3))
    past = call.optional(4)
    cached = past[2] if past else 0
    if len(query) == 4:
        batch, heads, queries, size = query
        return batch * heads * queries * (key[2] + cached) * (size + value[3])
    heads, shared_heads = call.integer("q_num_heads", 1), call.integer("kv_num_heads", 1)
    batch, queries, width = query
    return batch * queries * (key[1] + cached) * (width + heads * value[2] // shared_heads)


def multi_head_attention(call: Call) -> int:
    """Count com.microsoft's MultiHeadAttention; keys and values may be packed with the queries or each other.

    Query (B, Sq, H·d) or packed (B, Sq, H, 3, d); key (B, Skv, H·d), packed (B, Skv, H, 2, d) or from a cache
    (B, H, Skv, d); value (B, Skv, H·dv) or (B, H, Skv, dv); past keys (B, H, P, d) are input 6.
    """
    query, key, value = call.input(0), call.optional(1), call.optional(2)
    past = call.optional(6)
    cached = past[2] if past else 0
    batch, queries = query[:2]
    width = prod(query[2:]) // (3 if len(query) == 5 else 1)
    keys = queries if key is None else key[2 if len(key) == 4 else 1]
    value = value or (batch, keys, width)
    value_width = value[1] * value[3] if len(value) == 4 else value[2]
    return batch * queries * (keys + cached) * (width + value_width)


def fused_attention(call: Call, past: int = 4) -> int:
    """Count com.microsoft's Attention: x (B, S, D) · W (D, 3·H·d), then attention; past (2, B, H, P, d)."""
    batch, length, _ = call.input(0)
    weight = call.input(1)
    cache = call.optional(past)
    widths = list(call.node.attributes.get_ints("qkv_hidden_sizes", [])) or [weight[1] // 3] * 3
    keys = length + (cache[3] if cache else 0)
    return batch * length * (prod(weight) + keys * (widths[0] + widths[2]))


def quantized_attention(call: Call) -> int:
    """Count com.microsoft's QAttention, whose past is input 8."""
    return fused_attention(call, past=8)
