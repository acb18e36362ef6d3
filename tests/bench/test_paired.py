"""Timings of two models against each other, in turn, or apart where they are too large for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from onnx_pare.bench import paired
from onnx_pare.bench.paired import measure_pair, pair
from onnx_pare.bench.runner import Runner
from onnx_pare.graph import lean

RELU = "(float[1, 8] x) => (float[1, 8] y) { y = Relu (x) }"
FEEDS = {"x": np.ones((1, 8), np.float32)}


def test_the_speedup_holds_while_the_machine_slows_down() -> None:
    drift = np.linspace(1, 3, 40)
    result = pair(np.stack([8 * drift, 2 * drift], axis=1), threads=1)
    assert result.speedup == pytest.approx(4)
    assert result.interval == pytest.approx((4, 4))
    assert (result.runs, result.before.runs, result.after.runs) == (40, 40, 40)


def test_identical_models_give_an_interval_around_one() -> None:
    noise = np.random.default_rng(0).lognormal(0, 0.2, (50, 2))
    result = pair(5 * noise, threads=1)
    assert result.interval[0] < 1 < result.interval[1]
    assert result.interval[0] <= result.speedup <= result.interval[1]


def test_the_report_entry_has_the_keys_of_the_contract() -> None:
    entry = pair(np.full((12, 2), 3.0), threads=2).to_json()
    assert entry == {
        "profile": "local",
        "kind": "measured",
        "before_ms": 3.0,
        "after_ms": 3.0,
        "speedup": 1.0,
        "interval": [1.0, 1.0],
        "threads": 2,
        "runs": 12,
        "unseen_ops": [],
    }


def test_real_models_are_timed_in_turn(write) -> None:
    path = write("relu", RELU)
    both = measure_pair(path, path, FEEDS, runs=5, threads=2)
    assert both.runs == 5
    assert both.speedup > 0
    assert both.threads == both.before.threads == 2
    assert "warnings" not in both.to_json()


class Alone(Runner):
    """A runner that is never loaded beside another one."""

    loaded: ClassVar[list[str]] = []
    options: ClassVar[list[dict[str, Any]]] = []
    living = 0

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        assert Alone.living == 0
        Alone.living += 1
        Alone.loaded.append(path.stem)
        Alone.options.append(options)

    def __del__(self) -> None:
        Alone.living -= 1


def test_large_models_are_timed_one_after_the_other(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "LARGE_BYTES", 1)
    monkeypatch.setattr(paired, "Runner", Alone)
    both = paired.measure_pair(write("a", RELU), write("b", RELU), FEEDS, runs=5)
    assert Alone.loaded[-3:] == ["a", "b", "a"]
    assert Alone.living == 0
    assert (both.runs, both.before.runs, both.after.runs) == (5, 5, 5)
    assert both.to_json()["warnings"] == [paired.APART]


def test_timings_that_are_too_many_are_taken_evenly() -> None:
    assert paired._spread(np.arange(10.0), 4).tolist() == [0, 3, 6, 9]
    assert paired._spread(np.arange(3.0), 3).tolist() == [0, 1, 2]


def test_large_convolutions_are_timed_in_the_plain_layout_and_it_is_said(write, monkeypatch) -> None:
    monkeypatch.setattr(lean, "LARGE_BYTES", 1)
    monkeypatch.setattr(paired, "Runner", Alone)
    path = write(
        "conv", "(float[1, 1, 3] x) => (float[1, 1, 3] y) <float[1, 1, 1] w = {2}> { y = Conv (x, w) }"
    )
    both = measure_pair(path, path, {"x": np.ones((1, 1, 3), np.float32)}, runs=4)
    assert both.warnings == (paired.APART, paired.PLAIN)
    assert Alone.options[-1]["without"] == ("NchwcTransformer",)
