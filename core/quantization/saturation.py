"""Whether 8-bit kernels of CPUs without a dot product can overflow, and what comes out where they do.

x86 before VNNI multiplies uint8 by int8 with VPMADDUBSW: two neighbouring products are added in 16 bits, and
what does not fit into ±2^15 is cut off (Intel SDM, PMADDUBSW). 255 · 127 · 2 does not fit; with weights of
7 bits, 255 · 64 · 2 = 32640 does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import constant
from onnx_pare.quantization.kernels import ANCHORS

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
LOWEST, HIGHEST = -(2**15), 2**15 - 1


def saturating_product(inputs: Array, weights: Array) -> Array:
    """Return inputs · weightsᵀ as such a kernel computes it: sums of two products are cut off at 16 bits.

    Args:
        inputs: uint8, shape (rows, inputs).
        weights: int8, shape (outputs, inputs).

    Returns:
        int32, shape (rows, outputs).
    """
    even = inputs.shape[1] // 2 * 2
    x, w = inputs.astype(np.int32), weights.astype(np.int32)
    pairs = x[:, None, :even:2] * w[None, :, :even:2] + x[:, None, 1:even:2] * w[None, :, 1:even:2]
    rest = x[:, even:] @ w[:, even:].T
    return np.asarray(np.clip(pairs, LOWEST, HIGHEST).sum(axis=2) + rest)


def may_saturate(weights: Array) -> bool:
    """Tell whether inputs exist for which a pair of neighbours is cut off; `weights` as above."""
    even = weights.shape[1] // 2 * 2
    pairs = weights[:, :even].astype(np.int32).reshape(len(weights), -1, 2)
    up, down = np.maximum(pairs, 0).sum(axis=2), np.minimum(pairs, 0).sum(axis=2)
    return bool(255 * up.max(initial=0) > HIGHEST or 255 * down.min(initial=0) < LOWEST)


def layers_at_risk(model: ir.Model) -> int:
    """Count the layers of a quantized model whose weights may saturate."""
    count = 0
    for node in model.graph:
        if node.op_type not in ANCHORS or node.domain != "" or node.inputs[1] is None:
            continue
        pair = node.inputs[1].producer()
        weight = constant(pair.inputs[0]) if pair is not None and pair.op_type == "DequantizeLinear" else None
        if weight is not None and weight.dtype == np.int8:
            transposed = node.op_type != "Conv" and not node.attributes.get_int("transB", 0)
            rows = weight.T if transposed else weight.reshape(len(weight), -1)
            count += may_saturate(rows)
    return count
