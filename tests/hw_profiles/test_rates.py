from __future__ import annotations

from math import hypot, log, sqrt

import pytest

from onnx_pare.errors import ProfileError
from onnx_pare.hw_profiles.profiles import Profile, of_device
from onnx_pare.hw_profiles.rates import Z80, basis
from onnx_pare.hw_profiles.schema import Device
from tests.hw_profiles.board import know_board_costs


def test_a_fit_as_it_is(fitted: Profile) -> None:
    found = basis(fitted, "float32", 1)
    assert (found.rates.work_per_s, found.rates.bytes_per_s) == (10e9, 2e9)
    assert found.rates.overhead_s == pytest.approx(1e-4)
    assert dict(found.rates.factors) == {"linear": 2}
    assert (found.spread, found.error_percent, found.batch, found.notes) == (0.1, 9, (1, 8), ())
    assert set(found.costs) == {"linear", "elementwise"}


def test_between_two_fits_logarithms_are_interpolated(fitted: Profile) -> None:
    found = basis(fitted, "float32", 2)
    assert found.rates.work_per_s == pytest.approx(20e9)
    assert found.rates.bytes_per_s == pytest.approx(4e9)
    assert found.rates.factors["linear"] == pytest.approx(sqrt(2))
    assert (found.spread, found.notes) == (0.2, ("2 threads: interpolated between 1 and 4",))


def test_beyond_them_the_exponent_rules_up_to_the_cores(fitted: Profile) -> None:
    six = basis(fitted, "float32", 6)
    assert six.rates.work_per_s == pytest.approx(40e9 * 1.5**0.8)
    assert six.rates.bytes_per_s == pytest.approx(8e9 * 1.5**0.3)
    assert six.notes == ("6 threads: extrapolated from 4, not measured",)
    eight = basis(fitted, "float32", 8)
    assert eight.rates == six.rates
    assert eight.notes[0] == "8 threads on 6 cores are predicted as 6"


def test_without_an_exponent_the_interval_holds_no_gain_and_full_gain(
    fitted: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_board_costs(monkeypatch, thread_exponent=None)
    six = basis(fitted, "float32", 6)
    assert six.rates.work_per_s == pytest.approx(40e9 * sqrt(1.5))
    assert six.spread == pytest.approx(hypot(0.2, log(sqrt(1.5)) / Z80))


def test_fewer_threads_than_were_measured(device: Device) -> None:
    runtime = device.runtimes["fitted"].model_copy(update={"fits": device.runtimes["fitted"].fits[1:]})
    found = basis(of_device("b", device.model_copy(update={"runtimes": {"r": runtime}})), "float32", 1)
    assert found.rates.work_per_s == pytest.approx(40e9 / 4**0.8)
    assert found.notes == ("1 thread: extrapolated from 4, not measured",)


@pytest.mark.parametrize("dtype", ["int8", "float16", "float64"])
def test_a_type_that_was_not_measured_is_not_faster(fitted: Profile, dtype: str) -> None:
    found = basis(fitted, dtype, 1)
    assert (found.dtype, found.assumed, found.rates) == ("float32", True, basis(fitted, "float32", 1).rates)
    assert found.notes == (f"{dtype} was never measured with fitted: predicted to take as long as float32",)


def test_what_a_runtime_computes_in(device: Device) -> None:
    runtime = device.runtimes["fitted"].model_copy(update={"computes_in": {"float16": "float32"}})
    found = basis(of_device("b", device.model_copy(update={"runtimes": {"r": runtime}})), "float16", 1)
    assert (found.dtype, found.assumed, found.rates.work_per_s) == ("float16", False, 10e9)


def test_facts_alone(from_facts: Profile) -> None:
    # the fastest of six cores has a third of the peak, 32 of 96 GFLOP/s: 16 GMAC/s, half of which is used
    one = basis(from_facts, "float32", 1)
    assert one.rates.work_per_s == pytest.approx(8e9)
    assert (one.rates.bytes_per_s, one.rates.overhead_s) == (4e9, pytest.approx(1e-5))
    assert (one.spread, one.error_percent) == (0.3, None)
    assert one.notes == ("not validated: predicted from the device's facts alone",)
    three = basis(from_facts, "float32", 3)
    assert three.rates.work_per_s == pytest.approx(8e9 * 72 / 32 * 3**-0.2)
    assert three.rates.bytes_per_s == pytest.approx(4e9 * 3**0.3)


def test_facts_know_int8_only_with_its_own_peak_and_share(from_facts: Profile, device: Device) -> None:
    found = basis(from_facts, "int8", 1)
    assert (found.assumed, found.rates.work_per_s) == (False, pytest.approx(0.25 * 128e9 / 2))
    peak = device.facts.model_copy(update={"peak_gops": {"float32": 96.0}})
    blunt = of_device("b@facts", device.model_copy(update={"facts": peak}), "facts")
    assert basis(blunt, "int8", 1).assumed


def test_chips_without_a_known_bandwidth_go_by_bytes_for_each_mac(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = {"peak_share": 0.25, "bytes_per_mac": 4.0, "macs_per_launch": 0.0, "spread": 0.2}
    know_board_costs(monkeypatch, from_facts={"int8": share})
    facts = device.facts.model_copy(update={"memory_gb_per_s": None, "peak_gops": {"int8": 384.0}})
    chip = device.model_copy(update={"facts": facts, "kind": "mcu"})
    found = basis(of_device("b", chip, "facts"), "float32", 1)
    assert (found.dtype, found.rates.bytes_per_s) == ("int8", pytest.approx(4 * 16e9))
    assert found.notes[-1] == "facts is known for int8 only: what is float32 is predicted as if it were int8"


def test_no_facts_no_prediction(device: Device) -> None:
    facts = device.facts.model_copy(update={"memory_gb_per_s": None})
    with pytest.raises(ProfileError, match="neither fits nor facts"):
        basis(of_device("b", device.model_copy(update={"facts": facts}), "facts"), "float32", 1)


def test_threads_mean_nothing_to_a_gpu(device: Device) -> None:
    gpu = of_device("b", device.model_copy(update={"kind": "gpu"}), "fitted")
    assert basis(gpu, "float32", 1).notes == ()
    found = basis(gpu, "float32", 4)
    assert (found.rates.work_per_s, found.notes) == (10e9, ("the number of threads means nothing to a gpu",))
