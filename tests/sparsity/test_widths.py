"""What a narrower model is said to cost is what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.cost.count import count
from onnx_pare.graph.groups import find_groups
from onnx_pare.graph.surgery import remove_channels
from onnx_pare.sparsity.elimination import Course
from onnx_pare.sparsity.widths import Widths, multiple_of
from tests.conftest import with_weights
from tests.sparsity.nets import macs_of, shapes_of


def net():
    """Return two convolutions whose outputs are joined, a residual one, and a classifier."""
    return with_weights(
        """g (float[1, 3, 8, 8] x, float[8, 3, 3, 3] a, float[6, 3, 3, 3] b, float[14, 14, 3, 3] c,
              float[5, 14] d) => (float[1, 5] y) {
            [one] p = Conv <pads = [1, 1, 1, 1]> (x, a)
            [two] q = Conv <pads = [1, 1, 1, 1]> (x, b)
            j = Concat <axis = 1> (p, q)
            [three] t = Conv <pads = [1, 1, 1, 1]> (j, c)
            s = Add (t, j)
            m = GlobalAveragePool (s)
            flat = Flatten (m)
            [four] y = Gemm <transB = 1> (flat, d)
        }""",
        a=(8, 3, 3, 3),
        b=(6, 3, 3, 3),
        c=(14, 14, 3, 3),
        d=(5, 14),
    )


def courses(groups, seed: int = 0) -> dict[int, Course]:
    rng = np.random.default_rng(seed)
    found = {}
    for index, group in groups.items():
        harms = np.cumsum(np.r_[0, np.sort(rng.exponential(size=group.units - 1))])
        found[index] = Course(tuple(range(group.units - 1)), tuple(harms.tolist()))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_cost_is_that_of_the_pruned_model(seed: int):
    model = net()
    shapes, macs = shapes_of(model), macs_of(model)
    groups = find_groups(model, shapes)
    assert len(groups) == 2
    by_macs = Widths.of_macs(groups, groups, macs)
    by_params = Widths.of_params(groups, groups, count(model, shapes).params)
    assert by_macs.cost({}) == sum(macs.values())
    rng = np.random.default_rng(seed)
    gone = {index: int(rng.integers(0, group.units)) for index, group in groups.items()}
    remove_channels(model, groups, {index: range(number) for index, number in gone.items()})
    after = count(model, shapes_of(model))
    assert by_macs.cost(gone) == pytest.approx(after.macs)
    assert by_params.cost(gone) == pytest.approx(after.params)


@pytest.mark.parametrize("ratio", [0.9, 0.6, 0.3])
def test_a_budget_is_met_with_no_more_steps_than_needed(ratio: float):
    model = net()
    groups = find_groups(model, shapes_of(model))
    widths = Widths.of_macs(groups, groups, macs_of(model))
    total = widths.cost({})
    removable = {index: group.units - 1 for index, group in groups.items()}
    gone, cost = widths.choose(courses(groups), removable, dict.fromkeys(groups, 1), ratio * total)
    assert cost == widths.cost(gone) <= ratio * total
    fewer = [{**gone, index: number - 1} for index, number in gone.items()]
    assert any(widths.cost(each) > ratio * total for each in fewer)


def test_widths_are_multiples_and_floors_hold():
    model = net()
    groups = find_groups(model, shapes_of(model))
    widths = Widths.of_macs(groups, groups, macs_of(model))
    removable = {index: group.units // 2 for index, group in groups.items()}
    gone, cost = widths.choose(courses(groups), removable, dict.fromkeys(groups, 2), 0.0)
    assert gone
    assert all((groups[i].units - n) % 2 == 0 and n <= removable[i] for i, n in gone.items())
    assert cost > 0


def test_harmless_channels_go_first():
    model = net()
    groups = find_groups(model, shapes_of(model))
    widths = Widths.of_macs(groups, groups, macs_of(model))
    first, second = groups
    found = courses(groups)
    found[second] = found[second].scaled(1e-6)
    removable = {index: group.units - 1 for index, group in groups.items()}
    gone, _ = widths.choose(found, removable, dict.fromkeys(groups, 1), 0.95 * widths.cost({}))
    assert set(gone) == {second} != {first}


def test_multiples_follow_the_width():
    def group(units: int):
        return type("Group", (), {"units": units})()

    assert [multiple_of(group(units)) for units in (8, 15, 16, 32, 64, 128, 512)] == [1, 1, 2, 4, 8, 16, 16]
