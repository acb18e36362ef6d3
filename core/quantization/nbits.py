"""MatMulNBits: onnxruntime's product of an activation with a weight of 4 or 8 bits in blocks.

    y (…, N) = x (…, K) · wᵀ,   w[n, k] = scale[n, k // block] · (code[n, k] − 2^(bits−1))

(com.microsoft in onnxruntime's docs/ContribOperators.md.) Codes are uint8 (N, blocks, bytes of a block), two
of 4 bits to a byte, the low one first. `accuracy_level` 4 lets the kernel round activations to int8, block by
block: it is the only level that is faster than float.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import Names, add_initializer, constant
from onnx_pare.quantization.stored_weights import drop
from onnx_pare.quantization.weight_only import Quantized

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
DOMAIN = "com.microsoft"
ACCURACY_LEVEL = 4
BLOCKS = (16, 32, 64, 128, 256)


def fits(value: ir.Value) -> bool:
    """Return whether every node that reads a weight of rank 2 is a product that MatMulNBits can take over."""
    rank = len(value.shape) if value.shape is not None else 0
    return rank == 2 and all(_fits(use.node, use.idx, value) for use in value.uses())


def _fits(node: ir.Node, slot: int, value: ir.Value) -> bool:
    if node.op_type not in ("MatMul", "Gemm") or node.domain or slot != 1 or node.inputs[0] is value:
        return False
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    known_bias = bias is None or node.attributes.get_float("beta", 1.0) == 1.0 or constant(bias) is not None
    return known_bias and not node.attributes.get_int("transA", 0)


def write_nbits(value: ir.Value, graph: ir.Graph, found: Quantized, bits: int, names: Names) -> int:
    """Replace every product with a weight by MatMulNBits, in place.

    Args:
        value: The weight, as `fits` asks.
        graph: Its graph.
        found: It as a matrix (N, K), its block one of `BLOCKS`.
        bits: 4 or 8.
        names: Free names of the model.

    Returns:
        The bytes stored.
    """
    codes = add_initializer(graph, names.new(f"{value.name}_codes"), packed(found, bits))
    scales: dict[float, ir.Value] = {}
    for node in dict.fromkeys(use.node for use in value.uses()):
        alpha = node.attributes.get_float("alpha", 1.0)
        if alpha not in scales:
            array = found.scales.reshape(-1) * np.float32(alpha)
            scales[alpha] = add_initializer(graph, names.new(f"{value.name}_scale"), array)
        _replace(node, codes, scales[alpha], found, bits, names)
    drop(value, graph)
    return sum(each.const_value.nbytes for each in (codes, *scales.values()) if each.const_value is not None)


def packed(found: Quantized, bits: int) -> Array:
    """Return the codes as MatMulNBits reads them: uint8 (N, blocks, block · bits / 8)."""
    rows, columns = found.codes.shape
    zero = 1 << (bits - 1)
    padded = np.full((rows, found.scales.shape[1] * found.block), zero, np.uint8)
    padded[:, :columns] = found.codes.astype(np.int16) + zero
    blocks = padded.reshape(rows, -1, found.block)
    return blocks if bits == 8 else blocks[..., 0::2] | (blocks[..., 1::2] << 4)


def _replace(
    node: ir.Node, codes: ir.Value, scales: ir.Value, found: Quantized, bits: int, names: Names
) -> None:
    import onnx_ir as ir

    graph, old = node.graph, node.outputs[0]
    assert isinstance(graph, ir.Graph)
    rows, columns = found.codes.shape
    attributes = {"K": columns, "N": rows, "bits": bits, "block_size": found.block}
    product = ir.node(
        "MatMulNBits",
        [node.inputs[0], codes, scales],
        attributes={**attributes, "accuracy_level": ACCURACY_LEVEL},
        domain=DOMAIN,
        name=names.new(f"{node.name}_MatMulNBits"),
    )
    made, bias = [product], _bias(node, graph, names)
    if bias is not None:
        made.append(ir.node("Add", [product.outputs[0], bias], name=names.new(f"{node.name}_Add")))
        product.outputs[0].name = names.new(f"{product.name}_output")
    result = made[-1].outputs[0]
    graph.insert_before(node, made)
    result.type, result.shape = old.type, old.shape
    ir.convenience.replace_all_uses_with(old, result, replace_graph_outputs=True)
    result.name = old.name
    graph.remove(node, safe=True)


def _bias(node: ir.Node, graph: ir.Graph, names: Names) -> ir.Value | None:
    """Return what a Gemm adds, times beta."""
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    beta = node.attributes.get_float("beta", 1.0)
    array = constant(bias)
    if bias is None or array is None or beta == 1.0:
        return bias
    return add_initializer(graph, names.new(f"{bias.name}_scaled"), array * np.float32(beta))


@cache
def supported(bits: int) -> bool:
    """Return whether the installed onnxruntime computes MatMulNBits of so many bits."""
    import onnx_ir as ir

    from onnx_pare.graph.save import write_model
    from onnx_pare.graph.session import Session, SessionError

    model = ir.from_onnx_text(
        f'<ir_version: 8, opset_import: ["": 17, "{DOMAIN}": 1]> '
        "g (float[1,32] x, float[32,16] w) => (float[1,16] y) { y = MatMul (x, w) }"
    )
    weight = model.graph.inputs.pop()
    weight.const_value = ir.tensor(np.zeros((32, 16), np.float32), name="w")
    model.graph.register_initializer(weight)
    blank = Quantized(np.zeros((16, 32), np.int8), np.ones((16, 1), np.float32), 32, 0.0, 0.0)
    write_nbits(weight, model.graph, blank, bits, Names(model))
    with tempfile.TemporaryDirectory(prefix="onnx-pare-") as folder:
        path = Path(folder) / "nbits.onnx"
        write_model(model, path)
        try:
            Session(path).run({"x": np.zeros((1, 32), np.float32)})
        except SessionError:
            return False
    return True
