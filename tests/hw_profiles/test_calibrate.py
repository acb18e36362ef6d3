"""A machine whose speed is known is calibrated: its rates are found from the times it would take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir
import pytest

from onnx_pare.cost.count import count
from onnx_pare.cost.kernels import Kernel, kernels
from onnx_pare.errors import ProfileError
from onnx_pare.graph.session import Feeds
from onnx_pare.graph.shapes import infer
from onnx_pare.hw_profiles.calibrate import COSTS, calibrate, class_costs, fastest_s, prepare
from onnx_pare.hw_profiles.dtypes import computing
from onnx_pare.hw_profiles.micro_networks import NETWORKS
from onnx_pare.hw_profiles.micro_stacks import STACKS
from onnx_pare.hw_profiles.predictor import Rates
from onnx_pare.hw_profiles.rates_fit import predicted_s

MACHINE = {"float32": Rates(6e9, 4e9, 30e-6), "int8": Rates(12e9, 4e9, 30e-6)}


def seconds(work: Sequence[Kernel]) -> float:
    """Return how long the machine takes for kernels."""
    return sum(
        predicted_s([k for k in work if computing(k) == dtype], class_costs(dtype), rates)
        for dtype, rates in MACHINE.items()
    )


def machine(path: Path, feeds: Feeds, threads: int, budget_s: float) -> float:
    model = ir.load(path)
    shapes = infer(model, {name: array.shape for name, array in feeds.items()})
    return seconds(kernels(model, shapes, count(model, shapes), COSTS)) / threads


def test_calibrate_finds_the_machine() -> None:
    found = calibrate(threads=[1, 2], timer=machine, networks=NETWORKS[:6], stacks=STACKS[:3], budget_s=1e4)
    assert [(one.dtype, one.threads) for one in found] == [
        ("float32", 1),
        ("int8", 1),
        ("float32", 2),
        ("int8", 2),
    ]
    assert all(one.error_percent < 2 for one in found)
    assert {one.networks for one in found} == {9}
    work = prepare_one()
    for one in found[::2]:
        own = predicted_s(work, class_costs("float32"), one.rates)
        assert own == pytest.approx(seconds(work) / one.threads, rel=0.05)


def prepare_one() -> list[Kernel]:
    proto, _ = NETWORKS[6].build(integers=False)
    model = ir.serde.deserialize_model(proto)
    shapes = infer(model, {"input": NETWORKS[6].shape})
    return kernels(model, shapes, count(model, shapes), COSTS)


def test_time_that_is_up_ends_it() -> None:
    calls = []

    def slow(path: Path, feeds: Feeds, threads: int, budget_s: float) -> float:
        calls.append(budget_s)
        time.sleep(0.05)
        return 0.01

    found = calibrate(
        threads=[1], dtypes=["float32"], timer=slow, networks=NETWORKS[:5], stacks=STACKS, budget_s=0.01
    )
    assert (len(calls), found[0].networks) == (4, 4)
    assert set(calls) == {0.0}


def test_too_few_networks() -> None:
    with pytest.raises(ProfileError, match="too little time"):
        calibrate(threads=[1], dtypes=["float32"], timer=machine, networks=NETWORKS[:3], stacks=STACKS[:1])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_is_timed(tmp_path: Path, threads: int) -> None:
    (ready,) = prepare("float32", [STACKS[3]], tmp_path)
    assert 0 < fastest_s(ready.path, ready.feeds, threads, 0.01) < 1


def test_int8_leaves_out_what_has_no_int8_form(tmp_path: Path) -> None:
    names = {one.micro.name for one in prepare("int8", STACKS[-4:], tmp_path)}
    assert names == {one.name for one in STACKS[-4:] if one.integers}
