from __future__ import annotations

import pytest

from onnx_pare.bench.comparable import check_comparable
from onnx_pare.errors import ModelError
from onnx_pare.graph.signature import Port, Signature

IMAGE = Port("image", "float32", ("N", 3, 224, 224))
SCORES = Port("scores", "float32", ("N", 1000))


def signature(inputs: tuple[Port, ...] = (IMAGE,), outputs: tuple[Port, ...] = (SCORES,)) -> Signature:
    return Signature(inputs, outputs)


@pytest.mark.parametrize(
    "other",
    [
        signature(),
        signature(inputs=(Port("image", "float32", (1, 3, 224, 224)),)),
        signature(outputs=(Port("scores", "float32", None),)),
    ],
)
def test_a_free_dimension_fits_any_size(other: Signature) -> None:
    check_comparable(signature(), other)
    check_comparable(other, signature())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (signature(inputs=(Port("x", "float32", None),)), "inputs of A are 'image', of B 'x'"),
        (signature(inputs=()), "inputs of A are 'image', of B none"),
        (
            signature(outputs=(Port("scores", "float16", ("N", 1000)),)),
            "'scores' is float32 in A, float16 in B",
        ),
        (signature(outputs=(Port("scores", "float32", ("N", 10)),)), "'scores' is Nx1000 in A, Nx10 in B"),
        (signature(outputs=(Port("scores", "float32", (1000,)),)), "'scores' is Nx1000 in A, 1000 in B"),
    ],
)
def test_the_difference_is_named(other: Signature, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_comparable(signature(), other)
