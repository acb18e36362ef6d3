from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onnx_pare.cli.profiles import app
from onnx_pare.errors import OutputError, UsageError
from onnx_pare.hw_profiles import calibrate
from onnx_pare.hw_profiles.profiles import names
from tests.hw_profiles.board import BOARD


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list() -> None:
    lines = run("list").splitlines()
    assert [line.split()[0] for line in lines[1:]] == names()
    assert lines[1].split() == ["local", "cpu", "measured", "onnxruntime", "this", "machine"]
    listed = {entry["name"]: entry for entry in json.loads(run("list", "--json", "-"))["profiles"]}
    assert (listed["local"]["kind"], listed["raspberry-pi-4"]["kind"]) == ("measured", "predicted")
    assert listed["stm32h7"]["device_kind"] == "mcu"
    assert "ncnn" in listed["raspberry-pi-4"]["runtimes"]


def test_show_a_device() -> None:
    lines = run("show", str(BOARD)).splitlines()
    assert {
        "  cores              2 × Big, 2 GHz, 16 float32 operations per cycle",
        "  peak               float32 96, int8 384 GOP/s",
        "                     2 × 2 GHz × 16 + 4 × 1 GHz × 8 float32 operations per cycle",
        "fitted (default): costs of costs",
        "  float32, 1 thread: 10 GMAC/s, 2 GB/s, 100 µs per kernel; 20 models measured",
        "    error 9.0 % in the mean, median 7.0 %, 90 % within ±20 % (20 models held out by model families)",
        "    not validated",
        "  not validated: no measurements, predicted from the facts alone",
    } <= set(lines)


def test_show_local() -> None:
    facts = json.loads(run("show", "local", "--json", "-"))
    assert (facts["schema"], facts["name"], facts["kind"]) == ("onnx-pare/profile/1", "local", "measured")
    assert f"cores              {facts['cores']}" in run("show", "local").splitlines()


def test_show_unknown() -> None:
    with pytest.raises(UsageError, match="unknown profile 'rtx-409', did you mean 'rtx-4090'"):
        run("show", "rtx-409")


def test_calibrate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "fastest_s", lambda path, feeds, threads, budget_s: 0.01)
    monkeypatch.setattr(calibrate, "STACKS", calibrate.STACKS[:1])
    target, told = tmp_path / "mine.yaml", tmp_path / "told.json"
    lines = run("calibrate", "-o", str(target), "--threads", "1", "--json", str(told)).splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["float32", "1"], ["int8", "1"]]
    assert lines[-1] == f"written  {target}"
    assert json.loads(told.read_text())["device"]["runtimes"]["onnxruntime"]["costs"] == "onnxruntime-cpu"
    assert "validated" not in run("show", str(target))


def test_calibrate_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        CliRunner().invoke(
            app, ["calibrate", "-o", str(tmp_path / "none" / "x.yaml")], catch_exceptions=False
        )
