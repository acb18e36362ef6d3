from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.bench.fidelity import Fidelity
from onnx_pare.bench.judge import Judge
from onnx_pare.quantization.draft import Draft, Manner, Names
from onnx_pare.quantization.sensitivity import Limit, Protected, Protection, Region

from .conftest import named, with_weights

NOTHING: Names = frozenset()


def fidelity(sqnr_db: float | None, top1: float | None = None) -> Fidelity:
    return Fidelity(10, sqnr_db, top1, None, None, False, (), ())


@pytest.mark.parametrize(
    ("limit", "found", "met"),
    [
        (Limit(), fidelity(-5.0, 0.0), True),
        (Limit(20.0), fidelity(20.0), True),
        (Limit(20.0), fidelity(19.9), False),
        (Limit(20.0), fidelity(None), True),
        (Limit(None, 0.1), fidelity(5.0, 0.9), True),
        (Limit(None, 0.1), fidelity(50.0, 0.8), False),
        (Limit(None, 0.0), fidelity(50.0, None), True),
        (Limit(20.0, 0.1), fidelity(10.0, 1.0), False),
    ],
)
def test_limit(limit: Limit, found: Fidelity, met: bool):
    assert limit.met(found) == met


@pytest.fixture
def fragile() -> ir.Model:
    """Return a model whose layer `h` feeds a difference of channels that are equal up to 1 %."""
    model = named(
        with_weights(
            """g (float[N, 8] x, float[8, 16] v, float[8, 8] u, float[8, 4] t) => (float[N, 4] y) {
                h = MatMul(x, v)
                l, r = Split <axis = 1> (h)
                d = Sub(l, r)
                e = MatMul(d, u)
                f = Relu(e)
                y = MatMul(f, t)
            }""",
            v=(8, 16),
            u=(8, 8),
            t=(8, 4),
        )
    )
    rng = np.random.default_rng(0)
    left = rng.normal(size=(8, 8))
    weight = np.concatenate([left, left * (1 + 0.01 * rng.normal(size=(8, 8)))], axis=1)
    model.graph.initializers["v"].const_value = ir.tensor(weight.astype(np.float32), name="v")
    return model


@pytest.fixture
def protection(fragile: ir.Model, drafted: Callable[..., Draft], tmp_path: Path) -> Callable[..., Protection]:
    def make(limit: Limit, **options: Any) -> Protection:
        draft = drafted(fragile)
        settings = {"speedups": None, "budget_s": 1e9, **options}
        judge = Judge(fragile, draft.samples, tmp_path)
        return Protection(draft, judge, Manner(), limit, NOTHING, **settings)

    return make


@pytest.mark.parametrize("search", ["fewest", "affordable"])
def test_the_fragile_layer_is_first_and_left_float_alone(search: str, protection: Callable[..., Protection]):
    found: Protected = getattr(protection(Limit(25.0)), search)()
    assert found.ranking[0].nodes[0] == "h"
    assert found.float_nodes is not None
    assert "h" in found.float_nodes
    assert not found.float_nodes & {"e", "y"}
    assert (found.met, found.complete) == (True, True)
    assert found.notes()["left_float_for_accuracy"] == sorted(found.float_nodes)
    assert found.notes()["sensitivity"][0]["sqnr_db"] < found.notes()["sensitivity"][1]["sqnr_db"]


@pytest.mark.parametrize("search", ["fewest", "affordable"])
def test_nothing_is_ranked_where_the_limit_holds(search: str, protection: Callable[..., Protection]):
    assert getattr(protection(Limit(-50.0)), search)() == Protected(NOTHING, True)


@pytest.mark.parametrize("search", ["fewest", "affordable"])
def test_where_time_runs_out_the_best_so_far_is_returned(search: str, protection: Callable[..., Protection]):
    found: Protected = getattr(
        protection(Limit(25.0), budget_s=0.5, clock=map(float, count()).__next__), search
    )()
    assert not found.complete
    assert [region.nodes[0] for region in found.ranking] == ["h"]
    assert found.float_nodes == frozenset(found.ranking[0].nodes)
    assert found.met


class Told(Protection):
    """Four regions, and SQNR by how many of them are float."""

    by_count: Mapping[int, float] = {0: 10.0, 1: 15.0, 2: 22.0, 3: 30.0, 4: 40.0}

    def _rank(self) -> tuple[tuple[Region, ...], bool]:
        return tuple(Region((name,), float(place)) for place, name in enumerate("abcd")), True

    def _judge(self, nodes: Names) -> Fidelity:
        assert nodes == frozenset("abcd"[: len(nodes)])
        return fidelity(self.by_count[len(nodes)])


def told(limit_db: float, speeds: Sequence[float] | None = None) -> Told:
    """Speeds are by how many regions are float."""
    timed = None if speeds is None else lambda sets: [speeds[len(nodes)] for nodes in sets]
    return Told(None, None, None, Limit(limit_db), NOTHING, timed, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("limit_db", "needed"), [(5, ""), (15, "a"), (20, "ab"), (29, "abc"), (35, "abcd")])
def test_the_fewest_regions_that_meet_the_limit_are_left_float(limit_db: float, needed: str):
    found = told(limit_db).fewest()
    assert (found.float_nodes, found.met) == (frozenset(needed), True)


def test_a_limit_out_of_reach_leaves_most_float_and_says_so():
    found = told(99).fewest()
    assert (found.float_nodes, found.met) == (frozenset("abcd"), False)


def test_fewest_is_none_where_int8_is_not_faster_than_float_then():
    assert told(20, [2.0, 1.5, 1.0, 0.9, 0.8]).fewest().float_nodes is None
    assert told(20, [2.0, 1.5, 1.1, 0.9, 0.8]).fewest().float_nodes == {"a", "b"}


@pytest.mark.parametrize(
    ("speeds", "chosen", "met"),
    [
        (None, "ab", True),
        ([2.0, 1.9, 1.85], "ab", True),
        ([2.0, 1.9, 1.5], "a", False),  # below 90 % of the best speed-up
        ([2.0, 1.5, 1.4], "", False),
        ([0.9, 0.9, 0.8], "", False),  # float is faster anyway
        ([1.0, 1.5, 1.4], "ab", True),
    ],
)
def test_accuracy_costs_at_most_a_tenth_of_the_speedup(
    speeds: Sequence[float] | None, chosen: str, met: bool
):
    found = told(20, speeds).affordable()
    assert (found.float_nodes, found.met) == (frozenset(chosen), met)


def test_a_small_gain_is_not_worth_a_region():
    protection = told(99)
    protection.by_count = {0: 10.0, 1: 10.4, 2: 10.8, 3: 10.9, 4: 11.0}
    assert protection.affordable().float_nodes == {"a", "b"}
    protection.by_count = dict.fromkeys(range(5), 10.0)
    assert protection.affordable().float_nodes == NOTHING
