from __future__ import annotations

from typing import Any

import pytest

from onnx_pare.documents.section import validate
from onnx_pare.hw_profiles.memory_fit import memory_needs
from onnx_pare.hw_profiles.schema import Device


def device(**facts: Any) -> Device:
    return validate(Device, {"title": "x", "kind": "mcu", "facts": facts, "runtimes": {"r": {"costs": "c"}}})


def test_a_microcontroller_has_two_memories() -> None:
    needs = memory_needs(
        device(sram_kib=320, flash_kib=1024), activation_bytes=412 * 1024 - 3, weight_bytes=1024**2
    )
    assert [str(need) for need in needs] == [
        "does not fit: needs 412 KB of 320 KB SRAM",
        "fits: needs 1,024 KB of 1,024 KB flash",
    ]
    assert [need.to_json()["fits"] for need in needs] == [False, True]


def test_elsewhere_weights_and_activations_share_the_memory() -> None:
    (need,) = memory_needs(device(ram_mib=1), activation_bytes=2**19, weight_bytes=2**19 + 1)
    assert str(need) == "does not fit: needs 2 MB of 1 MB RAM"


@pytest.mark.parametrize("facts", [{}, {"onchip_kib": 8192}])
def test_nothing_is_said_about_memory_that_is_not_known(facts: dict[str, Any]) -> None:
    assert memory_needs(device(**facts), activation_bytes=2**40, weight_bytes=0) == []
