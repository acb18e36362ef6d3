from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from onnx_pare.errors import ProfileError, UsageError
from onnx_pare.hw_profiles.files import device_names
from onnx_pare.hw_profiles.profiles import LOCAL, calibrated, describe, find, names, resolve
from tests.hw_profiles.board import BOARD


def test_local_is_measured() -> None:
    assert resolve(["local"]) == [LOCAL]
    assert (LOCAL.kind, LOCAL.device) == ("measured", None)
    with pytest.raises(UsageError, match="leave out '@ncnn'"):
        find("local@ncnn")


def test_a_name_given_twice_counts_once() -> None:
    assert resolve(["local", "local"]) == [LOCAL]


def test_a_device_stands_for_its_first_runtime() -> None:
    found = find("raspberry-pi-4")
    assert (found.name, found.kind, found.runtime) == ("raspberry-pi-4", "predicted", "ncnn")
    assert find("raspberry-pi-4@tflite").runtime == "tflite"
    assert find("raspberry-pi-4@tflite").name == "raspberry-pi-4@tflite"


@pytest.mark.parametrize("at", ["", "@facts"])
def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    shutil.copy(BOARD, tmp_path / "my-board.yaml")
    monkeypatch.chdir(tmp_path)
    for name in (f"my-board.yaml{at}", f"./my-board.yaml{at}", f"{tmp_path}/my-board.yaml{at}"):
        (found,) = resolve([name])
        assert (found.name, found.runtime) == (name, at.removeprefix("@") or "fitted")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("raspbery-pi-4", "unknown profile 'raspbery-pi-4', did you mean 'raspberry-pi-4'?", "profiles list"),
        ("abacus", "unknown profile 'abacus'", "profiles list"),
        ("raspberry-pi-4@ncn", "unknown runtime 'ncn', did you mean 'ncnn'?", "It has: ncnn"),
        ("raspberry-pi-4@", "unknown runtime ''", "It has: ncnn"),
        ("none.yaml", "none.yaml: no such file", "profile's name"),
        ("./none", "./none: no such file", "profile's name"),
    ],
)
def test_unknown_names(name: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve([name])
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_costs_that_nobody_knows_are_an_error_before_the_work(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(BOARD.read_text().replace("costs: costs,", "costs: mine,"))
    with pytest.raises(ProfileError, match="unknown costs 'mine'"):
        resolve([f"{path}@facts"])


def test_every_profile_is_found_by_its_own_name() -> None:
    assert names() == ["local", *device_names()]
    assert [find(name).name for name in names()] == names()


def test_this_machine_as_calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "onnx-pare" / "local.yaml"
    monkeypatch.setattr("onnx_pare.hw_profiles.local.local_profile_path", lambda: path)
    with pytest.raises(UsageError, match="was not calibrated") as caught:
        calibrated()
    assert "pare profiles calibrate" in caught.value.hint
    path.parent.mkdir()
    shutil.copy(BOARD, path)
    assert (calibrated().name, calibrated().kind) == ("local", "predicted")


@pytest.mark.parametrize("name", ["local", "raspberry-pi-4", "stm32h7", str(BOARD)])
def test_the_description_is_json(name: str) -> None:
    facts = json.loads(json.dumps(describe(find(name)), allow_nan=False))
    assert facts["name"] == name


def test_the_description_of_this_machine() -> None:
    facts = describe(LOCAL)
    assert facts["cores"] >= 1
    assert "CPUExecutionProvider" in facts["providers"]
