from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from onnx_pare.cli import demo
from onnx_pare.errors import OutputError
from onnx_pare.pipeline.recipe import load_recipe, load_shipped

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(demo.demo)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def session() -> str:
    """Return what the README says that the demo prints."""
    readme = Path(__file__).resolve().parents[2] / "README.md"
    (block,) = re.findall(r"```text\n\$ pare demo\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


def labels(output: str) -> list[str]:
    """Return the first word of each line: the rest is this machine's numbers."""
    return [line.split()[0] for line in output.splitlines() if line.strip() and line[0] != " "]


def test_the_demo_end_to_end_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = run()
    assert first.exit_code == 0, first.output
    assert first.output.strip().endswith(str(Path("pare-demo/report.json")))
    report = json.loads((tmp_path / "pare-demo" / "report.json").read_text())
    assert report["schema"] == "onnx-pare/report/1"
    assert report["accuracy"]["before"] >= 0.98
    assert report["accuracy"]["after"] >= 0.98
    assert report["after"]["size_bytes"] < 0.5 * report["before"]["size_bytes"]
    assert report["calibration"]["random"] is False
    assert all(gate["passed"] for gate in report["gates"])

    assert labels(first.output) == labels(session()), "scripts/readme_session writes the README's anew"

    second = run()
    assert second.exit_code == 0, second.output
    again = json.loads((tmp_path / "pare-demo" / "report.json").read_text())
    assert again["output"]["sha256"] == report["output"]["sha256"]


@pytest.mark.parametrize("name", ["int8.yaml", "report.json", "digits.int8.onnx"])
def test_files_of_others_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="not the demo's"):
        run("-o", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_other_files_in_the_folder_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    demo.unpack(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*demo.SHIPPED, "notes.txt"}


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"Choose another folder with -o\."):
        demo.unpack(tmp_path / "file")


def test_the_recipe_is_the_shipped_one_with_data(tmp_path: Path) -> None:
    demo.unpack(tmp_path)
    recipe = load_recipe(str(tmp_path / demo.RECIPE))
    assert recipe.passes == load_shipped("int8").passes
    assert recipe.calibration_path == tmp_path / "digits_calibration.npz"
    assert recipe.evaluation_path == tmp_path / "digits_validation.npz"
