from __future__ import annotations

import onnx_ir as ir

from onnx_pare.sparsity import storage
from onnx_pare.sparsity.prunable import find

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[N,2] x) => (float[N,4] y) <float[2,4] w = {0, 0, 3, 0, 0, 0, 0, 8}> { y = MatMul (x, w) }"""


def test_rows_of_what_is_not_zero() -> None:
    weights, _ = find(ir.from_onnx_text(TEXT))
    assert storage.sparse_bytes(weights) == 2 * (4 + 2) + 5 * 4
    # outputs in twos, both inputs together: the second pair of outputs is kept
    assert storage.sparse_bytes(weights, (2, 2)) == 1 * (16 + 2) + 3 * 4


def test_too_much_to_compress(monkeypatch) -> None:
    weights, _ = find(ir.from_onnx_text(TEXT))
    assert 0 < (storage.compressed_bytes(weights) or 0) < 32
    assert storage.compressed_bytes([]) == 0
    monkeypatch.setattr(storage, "COMPRESS_LIMIT_BYTES", 8)
    assert storage.compressed_bytes(weights) is None
