from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.sparsity.patterns import Pattern
from onnx_pare.sparsity.prunable import Weight, find

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[N,4,1,2] x) => (float[N,2,1,1] y)
<float[2,4,1,2] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 8, 2, 7, 3, 6, 4}> { y = Conv (x, w) }"""


@pytest.fixture
def weight() -> Weight:
    (found,), _ = find(ir.from_onnx_text(TEXT))
    return found


def test_a_fraction(weight: Weight) -> None:
    mask = Pattern(0.25).mask(weight, weight.read())
    assert weight.read()[mask].tolist() == [1, 2, 1, 2]


def test_groups_run_over_channels(weight: Weight) -> None:
    pattern = Pattern(0.5, kept=2, group=4)
    mask = pattern.mask(weight, weight.read())
    assert (mask.sum(axis=1) == 2).all()
    assert pattern.fits(weight)
    assert not Pattern(kept=1, group=3).fits(weight)
    importance = np.array([[3, 1, 2, 4]])
    assert pattern.choose(importance, 0.5).tolist() == [[False, True, True, False]]
    assert pattern.choose(importance, 0.25).tolist() == [[False, True, False, False]]
    assert pattern.choose(importance, 0.75).tolist() == [[False, True, True, False]]
    assert (pattern.grain.limit(8), Pattern().grain.limit(8)) == (4, 8)


def test_blocks_lie_in_the_matrix_of_outputs_by_inputs(weight: Weight) -> None:
    pattern = Pattern(0.5, block=(2, 2))
    mask = pattern.mask(weight, weight.read())
    matrix = weight.to_matrix(mask)
    assert matrix.reshape(2, 4, 2).all(axis=(0, 2)).tolist() == [True, True, False, False]
    np.testing.assert_array_equal(pattern.choose(weight.to_matrix(weight.read()), 0.5), matrix)


def test_what_is_there_already_is_nothing_new(weight: Weight) -> None:
    pattern = Pattern(0.25)
    assert pattern.new_zeros(weight) == 4
    pattern.zero_smallest(weight)
    tensor = weight.value.const_value
    assert pattern.new_zeros(weight) == 0
    pattern.zero_smallest(weight)
    assert weight.value.const_value is tensor


def test_a_budget_goes_where_it_matters_least() -> None:
    layers = [np.array([1.0, 5, 6, 7]), np.array([2.0, 3, 4])]
    found = Pattern(0.5).spread(lambda: layers, 3)
    assert [pattern.sparsity for pattern in found] == [pytest.approx(1 / 4), pytest.approx(2 / 3)]
