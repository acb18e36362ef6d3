from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from onnx_pare.cli.profiles import app
from onnx_pare.errors import OutputError, ProfileError, UsageError
from onnx_pare.hw_profiles.profiles import find


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["fit", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def table(tmp_path: Path) -> Path:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [8, 8, 3, 3], [0.1] * 576)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 32, 32])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "net.onnx")
    path = tmp_path / "mine.csv"
    path.write_text("model,latency_ms\nnet.onnx,0.8\n")
    return path


def test_a_profile_is_written(table: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    said = run("raspberry-pi-4@ncnn", "--measurements", str(table), "-o", str(target))
    assert "1 model measured" in said
    assert f"written  {target}" in said
    profile = find(str(target))
    assert profile.runtime == "ncnn"
    assert profile.known.facts == find("raspberry-pi-4").known.facts
    assert any(fit.measured_models == 1 for fit in profile.on.fits)


def test_json(table: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    out = run("pixel-8@ncnn", "--measurements", str(table), "-o", str(target), "--json", "-")
    found = json.loads(out)
    assert found["schema"] == "onnx-pare/profile-fit/1"
    assert found["written"] == str(target)


def test_an_existing_file_stays(table: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    target.write_text("mine")
    with pytest.raises(OutputError):
        run("raspberry-pi-4@ncnn", "--measurements", str(table), "-o", str(target))
    assert target.read_text() == "mine"
    run("raspberry-pi-4@ncnn", "--measurements", str(table), "-o", str(target), "--overwrite")
    assert target.read_text() != "mine"


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("model,latency_ms\nnone.onnx,1\n")
    with pytest.raises(ProfileError, match=r"mine\.csv:2: no such model"):
        run("raspberry-pi-4@ncnn", "--measurements", str(path), "-o", str(tmp_path / "a.yaml"))
    assert not (tmp_path / "a.yaml").exists()


def test_local_is_calibrated_instead(table: Path) -> None:
    with pytest.raises(UsageError, match="local is measured"):
        run("local", "--measurements", str(table))
