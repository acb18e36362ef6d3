from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from onnx_pare.cli.profiles import app
from onnx_pare.errors import UsageError


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list() -> None:
    assert run("list").splitlines() == ["local    measured  this machine, onnxruntime"]
    assert [p["name"] for p in json.loads(run("list", "--json", "-"))["profiles"]] == ["local"]


def test_show_local() -> None:
    facts = json.loads(run("show", "local", "--json", "-"))
    assert (facts["schema"], facts["name"], facts["kind"]) == ("onnx-pare/profile/1", "local", "measured")
    assert f"cores            {facts['cores']}" in run("show", "local").splitlines()


def test_show_unknown() -> None:
    with pytest.raises(UsageError, match="unknown profile 'rtx-4090'"):
        run("show", "rtx-4090")
