from __future__ import annotations

from onnx_pare.graph.shapes import infer
from onnx_pare.quantization.placement import place
from onnx_pare.quantization.regions import regions

from .conftest import with_weights


def test_kinds_of_operators_that_may_lose_are_found():
    model = with_weights(
        """g (float[1, 3, 8, 8] x, float[8, 3, 3, 3] v, float[8, 1, 3, 3] w, float[8, 8, 1, 1] u)
            => (float[1, 8, 8, 8] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, v)
            b = Conv <group = 8, pads = [1, 1, 1, 1]> (a, w)
            p = GlobalAveragePool(b)
            q = Conv(p, u)
            g = Sigmoid(q)
            m = Mul(b, g)
            y = Conv(m, u)
        }""",
        v=(8, 3, 3, 3),
        w=(8, 1, 3, 3),
        u=(8, 8, 1, 1),
    )
    for node in model.graph:
        node.name = f"{node.op_type}_{node.outputs[0].name}"
    shapes = infer(model, {"x": (1, 3, 8, 8)})
    found = {region.name: set(region.nodes) for region in regions(place(model.graph), shapes)}
    assert found == {
        "first convolution": {"Conv_a"},
        "global pooling": {"GlobalAveragePool_p"},
        "squeeze": {"GlobalAveragePool_p", "Conv_q", "Sigmoid_g"},
        "activations": {"Sigmoid_g", "Mul_m"},
        "depthwise convolutions": {"Conv_b"},
    }
