from __future__ import annotations

import json
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from onnx_pare.cli import doctor

app = typer.Typer()
app.command()(doctor.doctor)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def broken(monkeypatch: pytest.MonkeyPatch, **required: str) -> None:
    names = {name.replace("_", "-"): limits for name, limits in required.items()}
    monkeypatch.setattr(doctor, "_required", lambda: names)


def test_a_healthy_installation_exits_0() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    assert "Nothing is missing." in result.output
    assert "CPUExecutionProvider" in result.output


def test_lists_every_required_package() -> None:
    names = {package["name"] for package in doctor.examine()["packages"]}
    assert {"numpy", "onnx", "onnx-ir", "onnxruntime", "onnxsim"} <= names
    assert not names & {"pytest", "torch"}


def test_knows_every_extra_and_invents_none() -> None:
    assert set(doctor.EXTRAS) == set(metadata(doctor.DISTRIBUTION).get_all("Provides-Extra") or [])


def test_json_alone_on_stdout() -> None:
    result = run("--json", "-")
    facts = json.loads(result.stdout)
    assert facts["schema"] == "onnx-pare/doctor/1"
    assert facts["problems"] == []
    assert {"name", "present", "meaning"} == set(facts["cpu"]["features"][0])


def test_json_file_beside_the_text(tmp_path: Path) -> None:
    result = run("--json", str(tmp_path / "doctor.json"))
    assert "Nothing is missing." in result.output
    assert json.loads((tmp_path / "doctor.json").read_text())["tool"]["name"] == "onnx-pare"


def test_a_missing_package_exits_2_and_says_how_to_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, numpy=">=1", no_such_package_anywhere=">=1")
    result = run()
    assert result.exit_code == 2
    assert "no-such-package-anywhere: not installed" in result.output
    assert "pip install" in result.output


def test_a_package_that_cannot_be_imported_exits_2(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, onnxruntime=">=1")
    monkeypatch.setattr(doctor, "MODULES", {"onnxruntime": "no_such_module_anywhere"})
    result = run()
    assert result.exit_code == 2
    assert "onnxruntime: installed, but cannot be imported" in result.output


def test_a_package_too_old_exits_2(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, numpy=">=99")
    result = run()
    assert result.exit_code == 2
    assert "numpy: onnx-pare needs >=99" in result.output


@pytest.mark.parametrize(
    ("limits", "version", "accepted"),
    [
        ("", "1.0", True),
        (">=1.17", "1.17.0", True),
        (">=1.17", "1.9", False),
        (">=1.17.0", "1.17", True),
        (">=1.1,<2", "1.99.1", True),
        (">=1.1,<2", "2.0", False),
        (">=1.1", "1.2.0rc1", True),
    ],
)
def test_version_limits(limits: str, version: str, accepted: bool) -> None:
    assert doctor.accepts(limits, version) is accepted


def test_an_unknown_cpu_is_said_to_be_unknown() -> None:
    facts = doctor.examine()
    facts["cpu"] = {
        "name": "unknown",
        "cores": 1,
        "features": [{"name": "AVX2", "present": None, "meaning": "x"}],
    }
    assert any(line.split() == ["AVX2", "unknown", "x"] for line in doctor.render(facts))
