"""What is left of the layers takes over from what is gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph.groups import find_groups
from onnx_pare.graph.surgery import remove_channels
from onnx_pare.sparsity.courses import by_data, by_norm
from onnx_pare.sparsity.harm import harm_on
from onnx_pare.sparsity.refit import refit
from tests.conftest import with_weights
from tests.sparsity.nets import error, macs_of, means, shapes_of

Array = np.ndarray


def redundant(grouped: bool = False) -> ir.Model:
    """Return a net whose second half of hidden channels repeats the first, a little changed."""
    model = with_weights(
        """g (float[N, 4, 8, 8] x, float[12, 4, 3, 3] a, float[12] b, float[6, 12, 3, 3] c, float[6] d,
              float[5, 6] e) => (float[N, 5] y) {
            [one] h = Conv <pads = [1, 1, 1, 1]> (x, a, b)
            r = Relu (h)
            [two] t = Conv <pads = [1, 1, 1, 1]> (r, c, d)
            m = GlobalAveragePool (t)
            flat = Flatten (m)
            [three] y = Gemm <transB = 1> (flat, e)
        }""",
        a=(12, 4, 3, 3),
        b=(12,),
        c=(6, 12, 3, 3),
        d=(6,),
        e=(5, 6),
    )
    for name in ("a", "b"):
        value = model.graph.initializers[name]
        array = value.const_value.numpy().copy()
        array[6:] = array[:6] * 1.01
        value.const_value = ir.tensor(array, name=name)
    return model


def pruned(units: list[int]) -> tuple[ir.Model, dict]:
    model = redundant()
    groups = find_groups(model, shapes_of(model))
    index = next(i for i, group in groups.items() if group.units == 12)
    return model, remove_channels(model, groups, {index: units})


def test_repeated_channels_are_taken_over(tmp_path: Path):
    original = redundant()
    model, cuts = pruned([6, 7, 8, 9, 10, 11])
    before = error(model, original, tmp_path)
    assert refit(original, model, cuts, shapes_of(original), means(original, tmp_path, 64)) == ["two"]
    after = error(model, original, tmp_path)
    assert before > 0.01
    assert after < 1e-3 * before


def test_an_order_by_data_drops_what_others_can_stand_in_for(tmp_path: Path):
    model = redundant()
    groups = find_groups(model, shapes_of(model))
    index = next(i for i, group in groups.items() if group.units == 12)
    given = means(model, tmp_path, 32)
    harm = harm_on(model, sum(macs_of(model).values()), 3, given)
    prunable = {index: groups[index]}
    course = by_data(model, groups, prunable, "reconstruction", given, harm)[index]
    # one of a pair goes without harm, as the other stands in for it
    assert course.harms[4] < 0.1 * course.harms[-1]
    plain = by_data(model, groups, prunable, "activation", given, harm)[index]
    assert plain.harms[4] > course.harms[4]


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_an_order_by_norms_is_that_of_the_filters(norm):
    model = redundant()
    groups = find_groups(model, shapes_of(model))
    index = next(i for i, group in groups.items() if group.units == 12)
    weight = model.graph.initializers["a"].const_value.numpy().reshape(12, -1).astype(float)
    norms = np.abs(weight).sum(1) if norm == "l1" else np.sqrt((weight**2).sum(1))
    course = by_norm({index: groups[index]}, norm)[index]
    assert list(course.order) == np.argsort(norms, kind="stable")[:11].tolist()


def test_a_change_of_the_outputs_is_told_in_their_power(tmp_path: Path):
    model = redundant()
    harm = harm_on(model, 10**6, 1, means(model, tmp_path))
    assert harm(model.clone()) < 1e-12
    halved = model.clone()
    value = halved.graph.initializers["e"]
    value.const_value = ir.tensor(value.const_value.numpy() * np.float32(0.5), name="e")
    assert harm(halved) == pytest.approx(0.25, rel=1e-3)
