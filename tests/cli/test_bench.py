from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx.parser
import pytest
import typer
from typer.testing import CliRunner

from onnx_pare.cli.bench import bench
from onnx_pare.errors import InputError, ModelError, UsageError
from tests.hw_profiles.board import BOARD, know_board_costs

app = typer.Typer()
app.command()(bench)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture(autouse=True)
def _own_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_pare.hw_profiles.local.local_profile_path", lambda: tmp_path / "local.yaml")
    know_board_costs(monkeypatch)


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


def test_predictions_beside_measurements(model: Path) -> None:
    data = json.loads(run(model, "--runs", 3, "-p", "local", "-p", BOARD, "--json", "-"))
    measured, predicted = data["results"]
    assert (measured["kind"], predicted["kind"]) == ("measured", "predicted")
    assert set(measured) - {"p90_ms"} <= set(predicted)
    assert (predicted["profile"], predicted["runs"], predicted["threads"]) == (str(BOARD), 0, 1)
    assert predicted["interval"][0] < predicted["latency_ms"] < predicted["interval"][1]
    assert (predicted["held_out_error_percent"], predicted["runtime"]) == (9, "fitted")


def test_predicted_never_looks_like_measured(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(BOARD, "b.yaml")
    lines = run(model, "--runs", 3, "-p", "local", "-p", "b.yaml@facts").splitlines()
    assert "≈" not in next(line for line in lines if " measured " in line)
    assert "≈" in next(line for line in lines if " predicted " in line)
    assert "warning  b.yaml@facts: not validated: predicted from the device's facts alone" in lines
    assert lines[-1] == "one run with 1 thread; 1 MAC = 2 FLOPs"


def test_nothing_runs_where_all_is_predicted(tmp_path: Path) -> None:
    path = write(tmp_path / "fixed.onnx", "(float[2, 8] x) => (float[2, 8] y) { y = Relu (x) }")
    once, thrice = (
        json.loads(run(path, "-p", BOARD, "--batch", batch, "--json", "-"))["results"][0] for batch in (2, 6)
    )
    assert thrice["latency_ms"] > once["latency_ms"]
    assert "the model's batch is fixed; predicted for 3 times that" in thrice["warnings"]
    with pytest.raises(UsageError, match="its batch is 2"):
        run(path, "-p", BOARD, "--batch", 3)


def test_the_most_expensive_operators(model: Path) -> None:
    lines = run(model, "-p", BOARD, "--ops").splitlines()
    (header,) = (index for index, line in enumerate(lines) if "predicted: bound by" in line)
    assert "100% overhead" in lines[header]
    assert lines[header + 1].split() == ["op", "type", "class", "time", "share", "bound", "by"]
    assert lines[header + 2].split()[-4:] == ["0.0501", "ms", "100.0%", "overhead"]


def test_what_if(tmp_path: Path) -> None:
    path = write(
        tmp_path / "net.onnx", "(float[16, 64] x, float[64, 8] w) => (float[16, 8] y) { y = MatMul (x, w) }"
    )
    entry = json.loads(run(path, "-p", f"{BOARD}@facts", "--dtype", "int8", "--json", "-"))["results"][0]
    assert "what if: MACs computed in int8, conversions between types not counted" in entry["warnings"]


def test_this_machine_predicted_beside_measured(model: Path, tmp_path: Path) -> None:
    shutil.copy(BOARD, tmp_path / "local.yaml")
    data = json.loads(run(model, "--runs", 3, "--compare-prediction", "--json", "-"))["results"]
    found = [(entry["profile"], entry["kind"]) for entry in data]
    assert found == [("local", "measured"), ("local", "predicted")]
    assert data[1]["measured_ms"] == data[0]["latency_ms"]
    off = 100 * (data[1]["latency_ms"] / data[0]["latency_ms"] - 1)
    assert data[1]["error_percent"] == pytest.approx(off)
    assert "compared relu.onnx predicted" in run(model, "--runs", 3, "--compare-prediction")


def test_json_to_a_file_leaves_the_table_on_stdout(model: Path, tmp_path: Path) -> None:
    assert "measured" in run(model, "--runs", 3, "--json", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["results"][0]["runs"] == 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ["-p", "raspbery-pi-4"],
            UsageError,
            "unknown profile 'raspbery-pi-4', did you mean 'raspberry-pi-4'",
        ),
        (["--dtype", "int8"], UsageError, "only changes predictions"),
        (["--compare-prediction"], UsageError, "was not calibrated"),
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
