"""Which units go for a target, and what is told of the layers that get narrower."""

from __future__ import annotations

import pytest

from onnx_pare.graph.groups import find_groups
from onnx_pare.sparsity.elimination import Course
from onnx_pare.sparsity.narrowed import narrowed, take_away, widths_of
from onnx_pare.sparsity.narrowing import Limits, Narrowing
from tests.sparsity.nets import macs_of, shapes_of
from tests.sparsity.test_widths import courses, net


def narrowing(limits: Limits | None = None):
    model = net()
    groups = find_groups(model, shapes_of(model))
    return model, Narrowing(groups, courses(groups), limits or Limits(round_to=1))


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5])
def test_a_share_of_every_group_goes(ratio: float):
    _, chosen = narrowing()
    units = chosen.by_share(ratio, "layer")
    assert {index: len(own) for index, own in units.items()} == {
        index: number for index, group in chosen.groups.items() if (number := int(ratio * group.units + 1e-9))
    }
    assert all(own == chosen.courses[index].order[: len(own)] for index, own in units.items())


def test_a_share_of_all_groups_goes_by_harm():
    model, chosen = narrowing()
    harmless, other = chosen.groups
    tame = {harmless: chosen.courses[harmless].scaled(1e-9), other: chosen.courses[other]}
    units = Narrowing(chosen.groups, tame, Limits(round_to=1)).by_share(0.4, "global")
    assert set(units) == {harmless}
    assert len(units[harmless]) == int(0.4 * sum(group.units for group in chosen.groups.values()))
    assert model


def test_floors_and_multiples():
    _, chosen = narrowing(Limits(min_channels=3, floor=0.5, round_to=2))
    for index, own in chosen.by_share(0.9, "layer").items():
        left = chosen.groups[index].units - len(own)
        assert left % 2 == 0
        assert left >= max(3, chosen.groups[index].units / 2)


def test_a_block_holds_where_a_group_is_twice_as_wide():
    def group(units: int):
        return type("Group", (), {"units": units})()

    limits = Limits(block=8)
    assert [limits.multiple(group(units)) for units in (8, 16, 32, 128, 512)] == [1, 8, 8, 16, 16]
    assert Limits(block=8, round_to=4).multiple(group(512)) == 4


def test_shares_of_macs_and_parameters_are_kept_to():
    model, chosen = narrowing()
    units, reached = chosen.to_macs(0.6, macs_of(model))
    assert units
    assert reached <= 0.6
    _, least = chosen.to_macs(0.001, macs_of(model))
    assert least > 0.001
    params = sum(value.const_value.size for value in model.graph.initializers.values())
    assert chosen.to_params(0.5, params)[1] <= 0.5


@pytest.mark.parametrize("wanted", [0.8, 0.4])
def test_a_latency_is_searched_for(wanted: float):
    """A clock by which the model takes as long as its units that are left are many."""
    model, chosen = narrowing()
    total = sum(group.units for group in chosen.groups.values())
    found, latency = chosen.to_latency(
        wanted, macs_of(model), lambda units: 1 - sum(map(len, units.values())) / total
    )
    assert latency == 1 - sum(map(len, found.values())) / total <= wanted
    assert latency > wanted - 0.35, "no more goes than needed"


def test_a_latency_out_of_reach_gives_the_fastest():
    model, chosen = narrowing()
    units, latency = chosen.to_latency(0.5, macs_of(model), lambda units: 0.9)
    assert units
    assert latency == 0.9


def test_layers_are_told_before_and_after():
    model, chosen = narrowing()
    before, macs = widths_of(chosen.groups), macs_of(model)
    take_away(model, chosen.groups, chosen.by_share(0.5, "layer"), only_zeros=False)
    notes = {
        note["node"]: note for note in narrowed(before, widths_of(chosen.groups), (macs, macs_of(model)))
    }
    assert set(notes) == {"one", "two", "three", "four"}
    assert (notes["one"]["channels_before"], notes["one"]["channels_after"]) == (8, 4)
    assert (notes["three"]["inputs_before"], notes["three"]["inputs_after"]) == (14, 7)
    assert notes["three"]["macs_after"] == macs_of(model)["three"] < macs["three"]


def test_groups_without_a_course_stay():
    model, chosen = narrowing()
    first, second = chosen.groups
    alone = Narrowing(chosen.groups, {second: Course((0, 1), (0.0, 1.0, 2.0))}, Limits(round_to=1))
    assert first not in alone.to_macs(0.5, macs_of(model))[0]
