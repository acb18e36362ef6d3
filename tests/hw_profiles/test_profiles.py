from __future__ import annotations

import json

import pytest

from onnx_pare.errors import UsageError
from onnx_pare.hw_profiles.profiles import LOCAL, PROFILES, describe, resolve


def test_local_is_measured() -> None:
    assert resolve(["local"]) == [LOCAL]
    assert LOCAL.kind == "measured"


def test_a_name_given_twice_counts_once() -> None:
    assert resolve(["local", "local"]) == [LOCAL]


def test_an_unknown_name_lists_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="unknown profile 'raspberry-pi-4'; known: local") as caught:
        resolve(["local", "raspberry-pi-4"])
    assert "predicts no other device" in caught.value.hint


def test_every_profile_is_found_by_its_own_name() -> None:
    assert [profile.name for profile in resolve(list(PROFILES))] == list(PROFILES)


def test_the_description_of_this_machine_is_json() -> None:
    facts = json.loads(json.dumps(describe(LOCAL), allow_nan=False))
    assert facts["kind"] == "measured"
    assert facts["cores"] >= 1
    assert "CPUExecutionProvider" in facts["providers"]
