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


def multi_head_attention(call: Call, past: int = 6) -> int:
    """Count com.microsoft's MultiHeadAttention; keys and values may be packed with the queries or each other.

    Query (B, Sq, H·d) or packed (B, Sq, H, 3, d); key (B, Skv, H·d), packed (B, Skv, H, 2, d) or from a cache
    (B, H, Skv, d); value (B, Skv, H·dv) or (B, H, Skv, dv); past keys (B, H, P, d) are input `past`.
    """
    query, key, value = call.input(0), call.optional(1), call.optional(2)
    cache = call.optional(past)
    cached = cache[2] if cache else 0
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


def decoder_attention(call: Call) -> int:
    """Count com.microsoft's DecoderMaskedMultiHeadAttention, whose past keys are input 5."""
    return multi_head_attention(call, past=5)


def grouped_attention(call: Call) -> int:
    """Count com.microsoft's GroupQueryAttention: Q (B, Sq, H·d), or Q, K, V packed: (B, Sq, (H + 2·Hkv)·d).

    Its keys are those of the cache that it returns, (B, Hkv, Skv, d): all that fit if its size is fixed.
    """
    batch, queries, width = call.input(0)
    heads, shared_heads = call.integer("num_heads", 1), call.integer("kv_num_heads", 1)
    packed = call.optional(1) is None
    size = width // (heads + 2 * shared_heads) if packed else width // heads
    cache = call.output(1) if len(call.outputs) > 1 and call.outputs[1] else None
    past = call.optional(3)
    keys = cache[2] if cache else (past[2] if past else 0) + queries
    return batch * heads * queries * keys * 2 * size


def ordered_attention(call: Call) -> int:
    """Count com.microsoft's QOrderedAttention: x (B, S, D) and the three weights (D, H·d), inputs 5 to 7."""
    batch, length, _ = call.input(0)
    weights = [call.input(position) for position in (5, 6, 7)]
    projected = sum(prod(weight) for weight in weights)
    return batch * length * (projected + length * (weights[0][1] + weights[2][1]))


def linear_attention(call: Call) -> int:
    """Count LinearAttention, with a state of Hkv · d · dv that each step updates and reads.

    MACs = B · T · d · dv · (Hkv for k ⊗ v, H for qᵀ·S, and Hkv for Sᵀ·k where the rule is a delta rule), the
    recurrence itself; Q (B, T, H·d), K (B, T, Hkv·d), V (B, T, Hkv·dv).
    """
    batch, steps, width = call.input(0)
    heads, shared_heads = call.integer("q_num_heads", 1), call.integer("kv_num_heads", 1)
    size, value_size = width // heads, call.input(2)[2] // shared_heads
    rule = call.node.attributes.get_string("update_rule", "gated_delta")
    return batch * steps * size * value_size * (heads + shared_heads * (2 if "delta" in rule else 1))
