from __future__ import annotations

import pytest

from onnx_pare.graph.shapes import infer
from onnx_pare.quantization.work import Work, convolution, work

from .conftest import with_weights

# group, input, weight and output shape -> the work
CONVOLUTIONS = {
    "regular": (1, (1, 8, 6, 6), (4, 8, 3, 3), (1, 4, 4, 4), Work("convolution", 4608, 352, 1152, 72, 4, 16)),
    "pointwise": (1, (1, 8, 6, 6), (4, 8, 1, 1), (1, 4, 6, 6), Work("pointwise", 1152, 432, 0, 8, 4, 36)),
    "depthwise": (16, (1, 16, 4, 4), (16, 1, 3, 3), (1, 16, 2, 2), Work("depthwise", 576, 320, 0, 9, 1, 4)),
    "uneven": (6, (1, 6, 4, 4), (6, 1, 3, 3), (1, 6, 2, 2), Work("uneven depthwise", 216, 120, 0, 9, 1, 4)),
    "grouped": (2, (1, 8, 4, 4), (4, 4, 3, 3), (1, 4, 2, 2), Work("grouped", 576, 144, 288, 36, 2, 4)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_work_of_convolutions(name: str):
    group, read, weight, made, expected = CONVOLUTIONS[name]
    assert convolution(group, read, weight, made) == expected


def test_the_work_of_other_nodes():
    model = with_weights(
        "g (float[2, 8] x, float[8, 3] w) => (float[2, 3] y) { m = MatMul(x, w) y = Sigmoid(m) }", w=(8, 3)
    )
    found = [work(node, infer(model, {"x": (2, 8)})) for node in model.graph]
    assert found == [Work("product", 48, 22, 0, 8, 3, 2), Work("Sigmoid", 0, 6)]


def test_a_node_of_unknown_shape_has_no_known_work():
    model = with_weights("g (float[2, 8] x) => (float[2, 8] y) { y = Sigmoid(x) }")
    assert work(model.graph[0], infer(model, {"x": (2, 8)})) is not None
    assert work(model.graph[0], {}) is None  # type: ignore[arg-type]
