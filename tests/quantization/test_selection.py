from __future__ import annotations

import onnx_ir as ir
import pytest

from onnx_pare.graph.shapes import infer
from onnx_pare.quantization.selection import select_predicted

from .conftest import separable, with_weights


@pytest.fixture
def model() -> ir.Model:
    return separable()


def test_a_prediction_times_nothing_and_says_what_it_is(model: ir.Model):
    shapes = infer(model, {"x": (1, 3, 8, 8)})
    found = select_predicted(model, shapes)
    assert found == select_predicted(model, shapes)
    assert found.chosen is not None
    assert found.chosen.kind == "predicted"
    assert "interval" not in found.chosen.to_json()
    assert not found.wins  # eight channels are too few
    assert found.float_nodes == {"a", "b", "y"}
    assert found.chosen.speedup == 1.0
    assert "predicted at 1.00x" in found.warnings()[-1]


def test_a_prediction_prefers_integers_where_there_is_much_to_multiply():
    large = with_weights(
        """g (float[1, 64, 56, 56] x, float[64, 64, 3, 3] w) => (float[1, 64, 56, 56] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)
            y = Conv <pads = [1, 1, 1, 1]> (a, w)
        }""",
        w=(64, 64, 3, 3),
    )
    for node in large.graph:
        node.name = node.outputs[0].name
    found = select_predicted(large, infer(large, {"x": (1, 64, 56, 56)}), fixed=frozenset({"a"}))
    assert found.float_nodes == {"a"}
    assert found.wins
    assert not select_predicted(large, infer(large, {"x": (1, 64, 56, 56)}), fixed=frozenset({"a", "y"})).wins
