from __future__ import annotations

import onnx_ir as ir
import pytest

from onnx_pare.graph.shapes import infer
from onnx_pare.hw_profiles.cpu import CpuFeatures
from onnx_pare.quantization.candidates import DIVISIONS, EVERYTHING, list_candidates
from onnx_pare.quantization.kernel_costs import kernel_costs

from .conftest import with_weights

COSTS = kernel_costs(CpuFeatures("a CPU", "x86", 2, ("AVX512F", "AVX512-VNNI")))


@pytest.fixture
def model() -> ir.Model:
    """Return a net whose first convolution had better stay float."""
    made = with_weights(
        """g (float[1, 3, 96, 96] x, float[16, 3, 3, 3] v, float[256, 16, 3, 3] w, float[256, 256, 3, 3] u)
            => (float[n, c, h, k] y) {
            a = Conv <strides = [2, 2]> (x, v)
            b = Conv <strides = [2, 2]> (a, w)
            y = Conv(b, u)
        }""",
        v=(16, 3, 3, 3),
        w=(256, 16, 3, 3),
        u=(256, 256, 3, 3),
    )
    for node in made.graph:
        node.name = node.outputs[0].name
    return made


def test_candidates_come_in_order_of_preference_each_placement_once(model: ir.Model):
    shapes = infer(model, {"x": (1, 3, 96, 96)})
    found = {each.name: set(each.float_nodes) for each in list_candidates(model, shapes, COSTS)}
    assert list(found.items())[:2] == [(EVERYTHING, set()), (next(iter(DIVISIONS)), {"a"})]
    assert "first convolution float" not in found  # the division is the same


def test_what_is_fixed_is_float_in_all(model: ir.Model):
    shapes = infer(model, {"x": (1, 3, 96, 96)})
    found = list_candidates(model, shapes, COSTS, frozenset({"b"}))
    assert found
    assert all("b" in each.float_nodes for each in found)


def test_nothing_to_quantize_gives_no_candidates(model: ir.Model):
    shapes = infer(model, {"x": (1, 3, 96, 96)})
    assert list_candidates(model, shapes, COSTS, frozenset({"a", "b", "y"})) == []
