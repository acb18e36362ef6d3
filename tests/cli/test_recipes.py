from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from onnx_pare.cli.recipes import app
from onnx_pare.errors import UsageError
from onnx_pare.pipeline import shipped
from onnx_pare.pipeline.schema import recipe_schema


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_says_what_each_is_for() -> None:
    lines = run("list").splitlines()
    assert [line.split()[0] for line in lines] == list(shipped.names())
    assert all(shipped.purpose(line.split()[0]) in line for line in lines)


def test_list_as_json(tmp_path: Path) -> None:
    data = json.loads(run("list", "--json", "-"))
    assert [entry["name"] for entry in data["recipes"]] == list(shipped.names())
    assert "int8" in run("list", "--json", str(tmp_path / "list.json"))
    assert json.loads((tmp_path / "list.json").read_text()) == data


def test_show_prints_the_file() -> None:
    assert run("show", "simplify") == shipped.text("simplify")
    assert run("show", "simplify.yaml") == shipped.text("simplify")


def test_show_as_json_fills_in_the_defaults() -> None:
    data = json.loads(run("show", "simplify", "--json", "-"))
    assert data["name"] == "simplify"
    assert data["recipe"]["benchmark"]["runs"] == 50
    assert [list(step) for step in data["recipe"]["passes"]] == [["simplify"]]


def test_an_unknown_name_gets_a_suggestion() -> None:
    result = CliRunner().invoke(app, ["show", "simplfy"])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == "no shipped recipe 'simplfy', did you mean 'simplify'?"


def test_schema_goes_to_stdout_or_a_file(tmp_path: Path) -> None:
    assert json.loads(run("schema")) == recipe_schema()
    assert run("schema", "--json", str(tmp_path / "schema.json")) == ""
    assert json.loads((tmp_path / "schema.json").read_text()) == recipe_schema()
