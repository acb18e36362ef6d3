from __future__ import annotations

import json

import pytest

from onnx_pare.hw_profiles.profiles import Profile, of_device
from onnx_pare.hw_profiles.schema import Device
from onnx_pare.hw_profiles.workload import Workload, forecast
from tests.conftest import with_weights

NET = "g (float[1, 64] x, float[64, 32] w) => (float[1, 32] y) { m = MatMul(x, w) y = Erf(m) }"
SHAPES = {"x": (1, 64)}


def work(**changes: object) -> Workload:
    return Workload.of(with_weights(NET, w=(64, 32)), SHAPES, **changes)


def test_a_model_on_a_profile(fitted: Profile) -> None:
    found = forecast(work(), fitted)
    entry = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (entry["runs"], entry["threads"], entry["runtime"]) == (0, 1, "fitted")
    # neither fully_connected nor function is in the costs of the tests
    assert entry["unseen_ops"] == ["Erf", "MatMul"]
    assert [op["op"] for op in entry["ops"]] == ["MatMul", "Erf"]
    assert "never seen by the fit: Erf, MatMul" in entry["warnings"][0]
    assert entry["fits"]["ram"]["has_bytes"] == 2**30


def test_macs_in_another_type(fitted: Profile) -> None:
    kernels = work(dtype="int8").kernels("onnxruntime-cpu")
    assert [(k.dtype, k.weight_bytes) for k in kernels] == [("int8", 64 * 32), ("float32", 0)]
    assert any("what if" in warning for warning in forecast(work(dtype="int8"), fitted).warnings)


def test_a_fixed_batch_times_three(fitted: Profile) -> None:
    plain, thrice = work(), work(times=3, batch=3)
    assert thrice.macs == 3 * plain.macs
    assert [k.macs for k in thrice.kernels("none")] == [3 * (k.macs or 0) for k in plain.kernels("none")]
    assert forecast(thrice, fitted).warnings[-1] == "the model's batch is fixed; predicted for 3 times that"


def test_what_does_not_fit_is_said_first(device: Device) -> None:
    facts = device.facts.model_copy(update={"sram_kib": 0.25, "flash_kib": 64.0, "ram_mib": None})
    found = forecast(work(), of_device("b", device.model_copy(update={"facts": facts})))
    # x and m: 64 + 32 floats
    assert found.warnings[0] == "does not fit: needs 1 KB of 0 KB SRAM"
    assert found.to_json()["fits"]["sram"] == {"needs_bytes": 384, "has_bytes": 256, "fits": False}
    assert found.to_json()["fits"]["flash"]["needs_bytes"] == 64 * 32 * 4


@pytest.mark.parametrize(
    ("dtype", "needs"), [("int8", 64 * 32), ("float16", 64 * 32 * 2), (None, 64 * 32 * 4)]
)
def test_memory_follows_the_type_too(device: Device, dtype: str | None, needs: int) -> None:
    facts = device.facts.model_copy(update={"flash_kib": 64.0, "ram_mib": None})
    profile = of_device("b", device.model_copy(update={"facts": facts}))
    assert [need.needs_bytes for need in work(dtype=dtype).memory(profile)] == [needs]
