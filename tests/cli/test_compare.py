from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
import typer
from typer.testing import CliRunner

from onnx_pare.cli.compare import compare
from onnx_pare.errors import InputError, ModelError, UsageError

app = typer.Typer()
app.command()(compare)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "a.onnx", 1.0), write(tmp_path / "b.onnx", 1.1)


def write(path: Path, weight: float, output: str = "y") -> Path:
    graph = (
        f"(float[N, 2] x) => (float[N, 2] {output}) <float[2, 2] w = {{{weight}, 0, 0, {weight}}}>"
        f" {{ {output} = MatMul (x, w) }}"
    )
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> main {graph}'), str(path))
    return path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_json_is_all_there_is_on_stdout(pair: tuple[Path, Path]) -> None:
    data = json.loads(run(*pair, "--runs", 3, "--samples", 5, "--json", "-"))
    assert data["schema"] == "onnx-pare/compare/1"
    assert data["fidelity"]["samples"] == 5
    assert data["accuracy"] is None
    assert data["latency"][0]["runs"] == 3


def test_the_summary_fits_80_columns_and_says_what_it_stands_on(pair: tuple[Path, Path]) -> None:
    text = run(*pair, "--runs", 3)
    assert "20.0 dB" in text
    assert "synthetic samples say little" in text
    table = [line.rstrip() for line in text.splitlines() if not line.startswith(("A  ", "B  "))]
    assert max(map(len, table)) <= 80


def test_labels_add_a_row_for_accuracy(pair: tuple[Path, Path], tmp_path: Path) -> None:
    labels = tmp_path / "val.npz"
    np.savez(labels, x=np.eye(2, dtype=np.float32), y=np.array([0, 0]))
    text = run(*pair, "--runs", 3, "--labels", labels)
    row = next(line for line in text.splitlines() if line.startswith("top-1"))
    assert row.split() == ["top-1", "50.00", "%", "50.00", "%", "same"]
    assert "on 2 labelled samples" in text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--preprocess", "imagnet"], UsageError, "no preset 'imagnet', did you mean 'imagenet'"),
        (["--data", "none.npz"], InputError, "none.npz: no such file"),
        (["--shape", "x"], UsageError, "--shape 'x'"),
    ],
)
def test_wrong_flags(
    pair: tuple[Path, Path], arguments: list[str], error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(*pair, *arguments)


def test_models_that_differ_outside_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the models cannot be compared: outputs of"):
        run(pair[0], write(tmp_path / "c.onnx", 1.0, output="z"))


def test_json_over_a_model_is_refused(pair: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="is the model itself"):
        run(*pair, "--json", pair[1])
