from __future__ import annotations

from typing import Any

import onnx_ir as ir
import pytest

from onnx_pare.quantization import weight_plan
from onnx_pare.quantization.stored_weights import Layout
from onnx_pare.quantization.weight_plan import Wanted, storage_of

from .conftest import with_weights

MATMUL = "g (float[2,256] x, float[256,128] w) => (float[2,128] y) { y = MatMul (x, w) }"
CONV = "g (float[1,16,5,5] x, float[64,16,3,3] w) => (float[1,64,3,3] y) { y = Conv (x, w) }"


def value_of(text: str, shape: tuple[int, ...]) -> ir.Value:
    return with_weights(text, w=shape).graph.initializers["w"]


def wanted(**given: Any) -> Wanted:
    return Wanted(**{"bits": 4, "levels": "uniform", "block_size": None, "format": "auto", **given})


@pytest.mark.parametrize(
    ("given", "form", "block", "opset"),
    [
        ({}, "matmulnbits", 32, 1),
        ({"block_size": 64}, "matmulnbits", 64, 1),
        ({"block_size": 100}, "cast", 64, 21),
        ({"block_size": "channel"}, "cast", 256, 21),
        ({"levels": "log"}, "cast", 32, 21),
        ({"format": "cast"}, "cast", 32, 21),
        ({"format": "dequantize"}, "dequantize", 32, 21),
        ({"bits": 8, "format": "cast"}, "cast", 256, 10),
        ({"bits": 8, "format": "dequantize"}, "dequantize", 256, 13),
        ({"bits": 8, "format": "dequantize", "block_size": 32}, "dequantize", 32, 21),
    ],
)
def test_matmul(given: dict[str, Any], form: str, block: int, opset: int) -> None:
    found = storage_of(value_of(MATMUL, (256, 128)), Layout((256, 128), (1, 0), 1), wanted(**given))
    assert (found.format, found.block, found.opset) == (form, block, opset)


def test_conv() -> None:
    found = storage_of(value_of(CONV, (64, 16, 3, 3)), Layout((64, 16, 3, 3), (0, 1, 2, 3), 1), wanted())
    assert (found.format, found.block, found.opset) == ("cast", 24, 21)
    assert found.size_bytes == 64 * 6 * (24 // 2 + 4)


def test_small_matrices_stay_with_float_kernels_unless_told() -> None:
    text = MATMUL.replace("256", "20").replace("128", "6")
    layout = Layout((20, 6), (1, 0), 1)
    assert storage_of(value_of(text, (20, 6)), layout, wanted()).format == "cast"
    told = storage_of(value_of(text, (20, 6)), layout, wanted(format="matmulnbits", block_size=128))
    assert (told.format, told.block) == ("matmulnbits", 32)


def test_an_onnxruntime_that_casts_no_4_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_plan, "casts_4_bits", lambda: False)
    value, layout = value_of(CONV, (64, 16, 3, 3)), Layout((64, 16, 3, 3), (0, 1, 2, 3), 1)
    assert storage_of(value, layout, wanted()).format == "dequantize"
    assert storage_of(value, layout, wanted(bits=8)).format == "cast"
