from __future__ import annotations

from math import exp, hypot

import pytest

from onnx_pare.hw_profiles.prediction import interval, predict
from onnx_pare.hw_profiles.profiles import Profile, of_device
from onnx_pare.hw_profiles.rates import Z80
from onnx_pare.hw_profiles.schema import Device
from tests.hw_profiles.board import made


def test_the_formula_by_hand(fitted: Profile) -> None:
    # linear: factor 2 · 10⁹ MACs / 10 GMAC/s = 200 ms; 2 · 3·10⁸ bytes / 2 GB/s = 300 ms; 0.1 ms overhead
    linear = made(name="big", read_bytes=2 * 10**8, weight_bytes=10**8)
    # element-wise: no compute; 2 · 5·10⁷ bytes / 2 GB/s = 50 ms; half the overhead
    added = made("elementwise", op="Add", macs=0, elements=10**7, written_bytes=5 * 10**7)
    found = predict([added, linear], fitted)
    big = 0.1 + hypot(200, 300)
    small = 0.05 + 50
    assert found.latency_ms == pytest.approx(big + small)
    assert [(op.name, op.op, op.op_class, op.bound) for op in found.ops] == [
        ("big", "MatMul", "linear", "memory"),
        ("n", "Add", "elementwise", "memory"),
    ]
    assert found.ops[0].ms == pytest.approx(big)
    assert sum(op.share for op in found.ops) == pytest.approx(1)
    assert found.bounds == {"compute": 0, "memory": pytest.approx(1), "overhead": 0}
    assert (found.unseen_ops, found.error_percent, found.notes) == ((), 9, ())


def test_each_bound_has_its_share(fitted: Profile) -> None:
    tiny = made(macs=1000)
    found = predict([made(), tiny], fitted)
    assert [op.bound for op in found.ops] == ["compute", "overhead"]
    assert found.bounds["overhead"] == pytest.approx(0.1 / 200.2, rel=1e-2)


def test_the_interval_is_that_of_the_fit(fitted: Profile) -> None:
    found = predict([made()], fitted)
    low, high = found.interval_ms
    assert high / found.latency_ms == pytest.approx(exp(Z80 * 0.1))
    assert low * high == pytest.approx(found.latency_ms**2)
    assert interval(5.0, 0.0) == (5.0, 5.0)


def test_a_class_never_seen_is_named_and_widens_the_interval(fitted: Profile) -> None:
    found = predict([made(), made("attention", op="Attention", macs=2 * 10**9)], fitted)
    # the class costs 1 and has no factor: it takes as long as the other
    assert found.unseen_ops == ("Attention",)
    assert found.spread == pytest.approx(hypot(0.1, 0.5 * 0.7), rel=1e-3)


def test_macs_that_cannot_be_counted_are_named(fitted: Profile) -> None:
    assert predict([made(op="Mystery", macs=None)], fitted).unseen_ops == ("Mystery",)


def test_int8_without_a_fit_takes_as_long_as_float32(fitted: Profile) -> None:
    as_float = predict([made(read_bytes=4 * 10**8)], fitted)
    as_int8 = predict([made(dtype="int8", read_bytes=10**8)], fitted)
    assert as_int8.latency_ms == as_float.latency_ms
    assert (as_float.error_percent, as_int8.error_percent) == (9, None)
    assert as_int8.spread > as_float.spread
    assert "int8 was never measured" in as_int8.notes[0]


def test_between_integer_kernels_the_fit_of_integers_holds(from_facts: Profile) -> None:
    linear = made(dtype="int8")
    pair = [linear, made("elementwise", op="Add", macs=0, written_bytes=10**6)]
    alone, known = predict(pair[:1], from_facts), predict(pair, from_facts)
    # the costs for int8 have no element-wise class: float32's hold, 2 · 10⁶ bytes / 4 GB/s and half of 10 µs
    assert known.latency_ms - alone.latency_ms == pytest.approx(0.5 + 0.005)
    follows = predict([linear, made(macs=0, elements=10**9)], from_facts)
    # `linear` is known for int8: 10⁹ elements take half as long as MACs of float32
    assert follows.latency_ms == pytest.approx(2 * alone.latency_ms)


def test_a_batch_that_was_not_measured_is_said(fitted: Profile) -> None:
    assert predict([made()], fitted, batch=8).notes == ()
    assert predict([made()], fitted, batch=9).notes == (
        "batch 9: extrapolated, batches of 1 to 8 were measured",
    )


def test_weights_beyond_the_chip_are_streamed(device: Device) -> None:
    facts = device.facts.model_copy(update={"onchip_kib": 1.0, "link_gb_per_s": 0.5})
    small = of_device("b", device.model_copy(update={"facts": facts}), "fitted")
    base = predict([made(weight_bytes=1024)], small)
    assert [op.op for op in base.ops] == ["MatMul"]
    found = predict([made(weight_bytes=1024 + 5 * 10**5)], small)
    streamed = next(op for op in found.ops if op.op == "weights")
    assert (streamed.ms, streamed.bound) == (pytest.approx(1.0), "memory")
    assert found.latency_ms == pytest.approx(sum(op.ms for op in found.ops))


def test_no_kernels_take_no_time(fitted: Profile) -> None:
    found = predict([], fitted)
    assert (found.latency_ms, found.interval_ms, found.error_percent) == (0, (0, 0), None)
