from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from onnx_pare.documents.section import validate
from onnx_pare.hw_profiles.schema import Costs, Device

FIT = {
    "dtype": "float32",
    "gmacs_per_s": 5.0,
    "gb_per_s": 4.0,
    "overhead_us": 3.0,
    "spread": 0.1,
    "measured_models": 30,
}


def device(**changes: Any) -> dict[str, Any]:
    return {"title": "A board", "kind": "cpu", "runtimes": {"ncnn": {"costs": "ncnn-cpu"}}} | changes


def runtime(**changes: Any) -> dict[str, Any]:
    return device(runtimes={"ncnn": {"costs": "ncnn-cpu", **changes}})


def test_a_device_needs_little() -> None:
    board = validate(Device, device())
    assert board.facts.core_count is None
    assert board.runtimes["ncnn"].fits == ()


def test_a_fit_is_for_one_thread_unless_it_says_so() -> None:
    fit = validate(Device, runtime(fits=[FIT])).runtimes["ncnn"].fits[0]
    assert (fit.threads, fit.batch, fit.validation) == (1, None, None)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (device(colour="red"), "colour"),
        (device(kind="tpu"), "'cpu', 'gpu', 'npu' or 'mcu'"),
        (device(runtimes={}), "at least 1"),
        (device(facts={"peak_gops": {"float32": 1.0}}), "peak_derivation"),
        (device(facts={"memory_gb_per_s": 1.0}), "memory_derivation"),
        (device(facts={"peak_gops": {"float": 1.0}, "peak_derivation": "x"}), "float"),
        (runtime(fits=[FIT, FIT]), "two fits for float32 with 1 threads"),
        (runtime(fits=[FIT | {"gmacs_per_s": 0}]), "greater than 0"),
        (runtime(fits=[FIT | {"factors": {"pointwisee": 1.0}}]), "did you mean 'pointwise'"),
    ],
)
def test_what_is_no_device(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        validate(Device, raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"title": "x", "fusion": "ncn", "classes": {}}, "unknown rule set 'ncn', did you mean 'ncnn'"),
        (
            {"title": "x", "fusion": "ncnn", "classes": {"int8": {"depthwis": {}}}},
            "did you mean 'depthwise'",
        ),
        (
            {
                "title": "x",
                "fusion": "ncnn",
                "classes": {},
                "from_facts": {
                    "int8": {"peak_share": 1.5, "memory_share": 1.0, "macs_per_launch": 1, "spread": 0.1}
                },
            },
            "less than or equal to 1",
        ),
    ],
)
def test_what_are_no_costs(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        validate(Costs, raw)
