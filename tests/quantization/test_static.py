from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest

from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph.save import serialize
from onnx_pare.passes.base import Context
from onnx_pare.progress import Silent
from onnx_pare.quantization.draft import Manner
from onnx_pare.quantization.layers import Layers
from onnx_pare.quantization.sensitivity import Limit
from onnx_pare.quantization.static import Means, Quantized, Wish, quantize

from .conftest import named, with_weights

ALL = Wish(Manner(layers=Layers(per_channel="auto", clip=True, adaptive=True, correct=True)), select="all")
Run = Callable[[Wish], Quantized]


@pytest.fixture
def model() -> ir.Model:
    return named(
        with_weights(
            """g (float[1, 16, 8, 8] x, float[32, 16, 3, 3] v, float[32, 32, 3, 3] w)
            => (float[1, 32, 4, 4] y) {
                a = Conv(x, v)
                r = Relu(a)
                y = Conv(r, w)
            }""",
            v=(32, 16, 3, 3),
            w=(32, 32, 3, 3),
        )
    )


@pytest.fixture
def run(model: ir.Model, tmp_path: Path) -> Run:
    def once(wish: Wish) -> Quantized:
        samples = synthetic_samples(model, count=12)
        context = Context(samples, tmp_path)
        means = Means(samples, context.observe_over, tmp_path, 1, 0, Silent())
        return quantize(model, model.clone(), wish, means)

    return once


def test_all_quantizes_everything_and_says_what_it_did(run: Run):
    found = run(ALL)
    assert found.integer_nodes == found.notes["integer_nodes"] > 0
    assert found.notes["quantized_weights"] == 2
    assert set(found.notes["methods"]["without"]) == {"calibration", "round", "correct_bias"}
    assert "placement" not in found.notes
    assert found.warnings == ()


@pytest.mark.parametrize("select", ["all", "predicted"])
def test_the_same_twice_is_the_same_byte_for_byte(select: str, run: Run):
    one, other = (run(replace(ALL, select=select)) for _ in range(2))  # type: ignore[arg-type]
    assert (one.model is None) == (other.model is None)
    if one.model is not None and other.model is not None:
        assert serialize(one.model) == serialize(other.model)
    assert one.notes == other.notes
    json.dumps(one.notes, allow_nan=False)


def test_measured_keeps_what_is_timed_to_be_faster(run: Run, told_times: Callable[[float], None]):
    told_times(2.0)
    found = run(replace(ALL, select="measured"))
    assert found.notes["placement_speedup"] == pytest.approx(2.0)
    assert found.notes["quantized_weights"] == 2
    json.dumps(found.notes, allow_nan=False)


def test_measured_leaves_float_what_is_timed_to_be_slower(run: Run, told_times: Callable[[float], None]):
    told_times(0.8)
    found = run(replace(ALL, select="measured"))
    assert (found.model, found.integer_nodes) == (None, 0)
    assert "not faster than float" in found.warnings[0]
    assert "0.80x" in found.warnings[0]


def test_a_limit_that_fails_is_said_so_where_it_is_strict(run: Run):
    found = run(replace(ALL, limit=Limit(150.0), strict=True, budget_s=1e-9))
    assert "time ran out" in found.warnings[0]
    assert "an SQNR of 150 dB does not hold even so" in found.warnings[1]
    assert found.notes["limit_met"] is False
    assert len(found.notes["sensitivity"]) == 1


def test_what_is_skipped_stays_float(run: Run):
    found = run(replace(ALL, skipped=frozenset({"a"})))
    assert found.notes["quantized_weights"] == 1


def test_equalization_can_be_switched_off(run: Run):
    assert "equalization" not in run(replace(ALL, equalize=False)).notes
