from __future__ import annotations

import json
from pathlib import Path

import onnx.parser
import pytest
import typer
from typer.testing import CliRunner

from onnx_pare.cli.bench import bench
from onnx_pare.errors import InputError, ModelError, UsageError

app = typer.Typer()
app.command()(bench)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "relu.onnx", "(float[N, 8] x) => (float[N, 8] y) { y = Relu (x) }")


def write(path: Path, graph: str) -> Path:
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> main {graph}'), str(path))
    return path


def test_json_is_the_contract_and_all_there_is_on_stdout(model: Path) -> None:
    data = json.loads(run(model, "--runs", 3, "--json", "-"))
    assert data["schema"] == "onnx-pare/bench/1"
    (entry,) = data["results"]
    assert list(entry) == [
        "model",
        "profile",
        "kind",
        "latency_ms",
        "interval",
        "p90_ms",
        "threads",
        "runs",
        "unseen_ops",
        "macs",
    ]
    assert (entry["model"], entry["profile"], entry["kind"]) == (str(model), "local", "measured")
    assert (entry["threads"], entry["runs"], entry["unseen_ops"]) == (1, 3, [])
    assert entry["interval"][0] <= entry["latency_ms"] <= entry["interval"][1]


def test_the_table_says_measured_and_names_each_model(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "neg.onnx", "(float[2] x) => (float[2] y) { y = Neg (x) }")
    lines = run(tmp_path, "--runs", 3, "-p", "local", "--threads", 2).splitlines()
    assert [line.split()[:4] for line in lines[1:3]] == [
        ["neg.onnx", "0", "local", "measured"],
        ["relu.onnx", "0", "local", "measured"],
    ]
    assert lines[-1] == "one run with 2 threads, in onnxruntime; 1 MAC = 2 FLOPs"
    assert max(map(len, lines)) <= 80


def test_json_to_a_file_leaves_the_table_on_stdout(model: Path, tmp_path: Path) -> None:
    assert "measured" in run(model, "--runs", 3, "--json", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["results"][0]["runs"] == 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["-p", "raspberry-pi-4"], UsageError, "unknown profile 'raspberry-pi-4'; known: local"),
        (["--shape", "x"], UsageError, "--shape 'x'"),
        (["--shape", "z=1x8"], UsageError, "no input 'z'"),
        (["--json", "none/out.json"], InputError, "no such folder"),
    ],
)
def test_wrong_flags(model: Path, arguments: list[str], error: type[InputError], message: str) -> None:
    with pytest.raises(error, match=message):
        run(model, *arguments)


def test_a_free_dimension_is_named_with_its_model(tmp_path: Path) -> None:
    path = write(tmp_path / "free.onnx", "(float[N, L] x) => (float[N, L] y) { y = Relu (x) }")
    with pytest.raises(ModelError, match=r"free\.onnx: input 'x' .* 'L'"):
        run(path)
    assert json.loads(run(path, "--runs", 3, "--shape", "x=2x5", "--json", "-"))["results"]


def test_a_broken_model_is_found_before_any_is_timed(model: Path, tmp_path: Path) -> None:
    (tmp_path / "z.onnx").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"z\.onnx: not an ONNX file"):
        run(tmp_path)
