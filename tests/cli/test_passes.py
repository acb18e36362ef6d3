from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onnx_pare.cli.passes import app
from onnx_pare.errors import UsageError
from onnx_pare.passes import base


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_gives_the_first_line_of_each_docstring() -> None:
    lines = run("list").splitlines()
    assert [line.split()[0] for line in lines] == list(base.registry())
    for line, cls in zip(lines, base.registry().values(), strict=True):
        assert line.endswith(base.summary(cls))


def test_list_as_json(tmp_path: Path) -> None:
    data = json.loads(run("list", "--json", "-"))
    assert [entry["name"] for entry in data["passes"]] == list(base.registry())
    assert run("list", "--json", str(tmp_path / "list.json"))
    assert json.loads((tmp_path / "list.json").read_text()) == data


@pytest.mark.parametrize("name", base.registry())
def test_show_describes_every_option(name: str) -> None:
    fields = base.registry()[name].Options.model_fields
    text = run("show", name)
    data = json.loads(run("show", name, "--json", "-"))
    assert [option["name"] for option in data["options"]] == list(fields)
    for option in data["options"]:
        assert option["description"], f"{name}.{option['name']} has no description"
        assert option["description"] in text
        assert f"  {option['name']}: {option['type']}" in text


def test_show_gives_type_range_and_default() -> None:
    text = run("show", "quantize_int8")
    assert "  percentile: number above 50, to 100; default 99.99\n" in text
    assert "  mode: static | dynamic; default static\n" in text
    assert "  per_channel: true or false or auto; default auto\n" in text


def test_an_unknown_name_gets_a_suggestion() -> None:
    result = CliRunner().invoke(app, ["show", "quantise_int8"])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == "no pass 'quantise_int8', did you mean 'quantize_int8'?"
