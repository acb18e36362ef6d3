"""docs/report.md names every key that the commands write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onnx_pare.cli.main import pare
from tests.hw_profiles.board import BOARD, know_board_costs

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "core" / "demo"
PAGE = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
# what lies below depends on the recipe, the pass or the model
OPEN = {"recipe", "options", "notes"}


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield key
            if key not in OPEN:
                yield from keys(below)
    elif isinstance(value, list):
        for below in value:
            yield from keys(below)


def written(command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("sys.argv", ["pare", *command])
    with pytest.raises(SystemExit) as ended:
        pare()
    assert ended.value.code == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["optimize", "inspect", "bench", "predicted", "compare"])
def test_every_key_is_described(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    know_board_costs(monkeypatch)
    monkeypatch.setattr("onnx_pare.hw_profiles.local.local_profile_path", lambda: BOARD)
    model, recipe = str(DEMO / "digits.onnx"), str(DEMO / "int8.yaml")
    labels = str(DEMO / "digits_validation.npz")
    few = ["--set", "benchmark.runs=3", "--set", "calibration.samples=4"]
    commands = {
        "optimize": [
            "optimize",
            model,
            "-c",
            recipe,
            "-o",
            str(tmp_path / "out.onnx"),
            "--report-json",
            "-",
            *few,
        ],
        "inspect": ["inspect", model, "--json", "-"],
        "bench": ["bench", model, "--runs", "3", "--json", "-"],
        "predicted": ["bench", model, "--compare-prediction", "--runs", "3", "--json", "-"],
        "compare": ["compare", model, model, "--labels", labels, "--preprocess", "unit", "--json", "-"],
    }
    described = {word for code in re.findall(r"`([^`]+)`", PAGE) for word in re.findall(r"\w+", code)}
    assert set(keys(written(commands[kind], capsys, monkeypatch))) - described == set()
