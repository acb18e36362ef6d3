from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.errors import ProfileError
from onnx_pare.hw_profiles import files
from onnx_pare.hw_profiles.profiles import find
from onnx_pare.hw_profiles.rates import basis

BOARD = """\
title: A board
kind: cpu
facts:
  memory_gb_per_s: 3.2
  memory_derivation: a guess
runtimes:
  ncnn: {costs: ncnn-cpu, fits: []}
"""


@pytest.mark.parametrize("name", files.device_names())
def test_every_device_that_ships_loads(name: str) -> None:
    device = files.shipped_device(name)
    assert name == name.lower().replace("_", "-")
    assert device.sources, "say where the facts come from"
    for runtime in device.runtimes.values():
        for fit in runtime.fits:
            peak = device.facts.peak(runtime.inside(fit.dtype))
            assert peak is None or fit.gmacs_per_s <= peak / 2, "faster than its peak"


@pytest.mark.parametrize("name", files.costs_names())
def test_all_costs_that_ship_load(name: str) -> None:
    assert files.costs(name).title


@pytest.mark.skipif(not files.costs_names(), reason="no costs ship")
@pytest.mark.parametrize("name", files.device_names())
def test_every_runtime_that_ships_can_be_predicted(name: str) -> None:
    for runtime in files.shipped_device(name).runtimes:
        profile = find(f"{name}@{runtime}")
        assert basis(profile, "float32", 1).rates.work_per_s > 0


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    assert files.device_file(path) is None
    path.write_text(BOARD)
    device = files.device_file(path)
    assert device is not None
    assert device.facts.memory_gb_per_s == 3.2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: cpu", "kind: cup", "board.yaml:2:7: kind: should be"),
        ("memory_gb_per_s: 3.2", "memory_gbps: 3.2", "board.yaml:4:3: facts: unknown key 'memory_gbps'"),
        ("fits: []", "fit: []", "board.yaml:7:27: runtimes.ncnn: unknown key 'fit', did you mean 'fits'"),
        ("title: A board", "- x", "board.yaml:"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(BOARD.replace(old, new))
    with pytest.raises(ProfileError) as caught:
        files.device_file(path)
    assert message in str(caught.value)


def test_an_empty_file_and_unknown_costs(tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    path.write_text("")
    with pytest.raises(ProfileError, match=r"is empty\nA profile starts with 'title: …'"):
        files.device_file(path)
    with pytest.raises(ProfileError, match="unknown costs 'ncn'"):
        files.costs("ncn")
