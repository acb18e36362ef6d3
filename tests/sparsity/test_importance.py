"""Which units matter least."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph.groups import find_groups
from onnx_pare.sparsity.importance import least, least_of_all, rounded, weight_norms

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


def test_the_least_are_chosen_and_the_first_of_equals() -> None:
    assert least(np.array([3.0, 1, 2, 1]), 2) == [1, 3]
    assert least(np.array([1.0, 1, 1]), 1) == [0]
    assert least(np.array([1.0]), 0) == []


def test_over_all_groups_scores_count_against_their_mean() -> None:
    scores = {3: np.array([1.0, 2, 3]), 7: np.array([100.0, 10, 100, 190])}
    assert least_of_all(scores, {3: 3, 7: 4}, 2 / 7) == {3: [0], 7: [1]}
    assert least_of_all(scores, {3: 0, 7: 4}, 2 / 7) == {7: [0, 1]}
    assert least_of_all(scores, {3: 1, 7: 1}, 0.9) == {3: [0], 7: [1]}


@pytest.mark.parametrize(
    ("width", "multiple", "left"), [(16, 1, 11), (16, 4, 12), (16, 8, 16), (18, 8, 16), (12, 8, 8), (6, 8, 6)]
)
def test_what_is_left_is_a_multiple_or_all(width: int, multiple: int, left: int) -> None:
    units = list(range(min(5, width)))
    assert width - len(rounded(units, width, multiple)) == left
