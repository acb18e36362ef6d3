"""Choosing a placement, with a stopwatch that is told how fast each placement is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.bench.statistics import Floats
from onnx_pare.quantization.candidates import EVERYTHING
from onnx_pare.quantization.contest import select_measured
from onnx_pare.quantization.selection import Selection

from .conftest import separable

FIRST, DEPTHWISE, BOTH = (
    "first convolution float",
    "depthwise convolutions float",
    "first convolution and depthwise convolutions float",
)


@pytest.fixture
def model() -> ir.Model:
    return separable()


@pytest.fixture
def select(model: ir.Model, tmp_path: Path) -> Callable[..., Selection]:
    """Return a function that selects with these latencies, by the nodes left float; `noise` is relative."""

    def run(
        latency_ms: Mapping[str, float],
        *,
        float_ms: float = 10.0,
        noise: float = 0.0,
        seed: int = 0,
        fixed: frozenset[str] = frozenset(),
    ) -> Selection:
        rng = np.random.default_rng(seed)
        slow = max(latency_ms.values())

        def build(float_nodes: frozenset[str]) -> ir.Model:
            copy = model.clone()
            copy.metadata_props["float"] = "".join(sorted(float_nodes))
            return copy

        def measure(paths: Sequence[Path], budget_s: float) -> Floats:
            kept = [ir.load(path).metadata_props.get("float") for path in paths]
            exact = [float_ms if names is None else latency_ms.get(names, slow) for names in kept]
            return np.array(exact) * rng.lognormal(0, noise, (40, len(paths)))

        feeds = {"x": np.zeros((1, 3, 8, 8), np.float32)}
        return select_measured(model, build, feeds, fixed=fixed, scratch=tmp_path, measure=measure)

    return run


def test_everything_is_kept_where_nothing_gains(select: Callable[..., Selection]):
    found = select({"": 5.0, "a": 6.0, "b": 7.0})
    assert found.float_nodes == frozenset()
    assert found.chosen is not None
    assert found.chosen.candidate.name == EVERYTHING
    assert found.chosen.speedup == pytest.approx(2.0)
    assert found.wins
    assert found.warnings() == ()


def test_a_kind_that_gains_is_left_float(select: Callable[..., Selection]):
    found = select({"": 5.0, "a": 4.0, "b": 7.0})
    assert found.float_nodes == {"a"}
    assert found.notes()["placement"] == FIRST
    assert found.notes()["left_float"] == ["a"]
    assert [each["name"] for each in found.notes()["placements"]] == [EVERYTHING, FIRST, DEPTHWISE]


def test_kinds_that_gain_are_left_float_together(select: Callable[..., Selection]):
    found = select({"": 5.0, "a": 4.0, "b": 4.5, "ab": 3.5})
    assert found.float_nodes == {"a", "b"}
    assert found.notes()["placement"] == BOTH


def test_a_small_difference_does_not_decide(select: Callable[..., Selection]):
    assert select({"": 5.0, "a": 4.9, "b": 7.0}).float_nodes == frozenset()


@pytest.mark.parametrize("seed", range(10))
def test_noise_does_not_change_the_choice(seed: int, select: Callable[..., Selection]):
    assert select({"": 5.0, "a": 4.4, "b": 5.1, "ab": 4.5}, noise=0.1, seed=seed).float_nodes == {"a"}


def test_int8_that_is_not_faster_than_float_is_said_so(select: Callable[..., Selection]):
    found = select({"": 12.0, "a": 10.0, "b": 13.0})
    assert not found.wins
    assert found.warnings() == (
        "int8 is not faster than float here: the best of 3 placements "
        "(first convolution float) is measured at 1.00x",
    )


def test_what_the_user_skips_stays_float(select: Callable[..., Selection]):
    found = select({"a": 5.0, "ab": 4.0}, fixed=frozenset({"a"}))
    assert found.float_nodes == {"a", "b"}


def test_nothing_to_quantize_is_no_win(select: Callable[..., Selection]):
    found = select({"": 5.0}, fixed=frozenset({"a", "b", "y"}))
    assert not found.wins
    assert found.notes() == {}
    assert found.warnings() == ()
