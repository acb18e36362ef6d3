"""Which units matter least."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph.groups import find_groups
from onnx_pare.sparsity.importance import weight_norms

MODEL = """<ir_version: 8, opset_import: ["": 17]> g (float[N,2,4,4] x) => (float[N,1,4,4] y)
  <float[4,2,1,1] w = {1, -2, 3, 4, 0, 1, -6, 8}, float[4,2,1,1] u = {1, 1, 0, 0, 0, 0, 0, -1},
   float[1,4,1,1] v = {1, 2, 3, 4}, float[1,2,1,1] p = {1, 1}> {
   a = Conv (x, w) b = Conv (x, u) c = Add (a, b) y = Conv (c, v) }"""


@pytest.mark.parametrize(("norm", "expected"), [("l1", [5, 7, 1, 15]), ("l2", [3.65, 5, 1, 11])])
def test_norms_add_up_over_the_layers_that_make_a_unit(norm: str, expected: list[float]) -> None:
    group = find_groups(ir.from_onnx_text(MODEL))[0]
    np.testing.assert_allclose(weight_norms(group, norm), expected, atol=0.01)


def test_a_unit_of_several_filters_has_the_norm_of_all_of_them() -> None:
    text = MODEL.replace("y = Conv (c, v)", "r = Conv <group = 2> (c, t) y = Conv (r, p)")
    text = text.replace("float[4,2,1,1] u", "float[2,2,1,1] t = {1, 1, 1, 1}, float[4,2,1,1] u")
    group = find_groups(ir.from_onnx_text(text))[0]
    np.testing.assert_allclose(weight_norms(group, "l1"), [5 + 7, 1 + 15])
