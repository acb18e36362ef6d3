from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Command
from .test_batch import RECIPE, net


@pytest.fixture
def out(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run a batch of two models, one of them broken."""
    net(tmp_path / "zoo" / "a.onnx")
    (tmp_path / "zoo" / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "r.yaml").write_text(RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert command("optimize", "zoo", "-c", "r.yaml", "-o", "out").code == 4
    return tmp_path / "out"


def test_status(command: Command, out: Path) -> None:
    ran = command("pare", "zoo", "status", out)
    assert ran.code == 0
    assert "models   2" in ran.out
    assert "failed   1  (input 1)" in ran.out
    said = json.loads(command("pare", "zoo", "status", out, "--json", "-").out)
    assert said == json.loads((out / "summary.json").read_text(encoding="utf-8"))


def test_files_as_written(command: Command, out: Path) -> None:
    ran = command("pare", "zoo", "verify", out)
    assert (ran.code, ran.out) == (0, "all as written\n")


def test_files_that_changed_or_went(command: Command, out: Path) -> None:
    (out / "a.onnx").write_bytes(b"other")
    (out / "a.onnx.report.json").unlink()
    ran = command("pare", "zoo", "verify", out, "--json", "-")
    assert ran.code == 1
    said = json.loads(ran.out)
    assert said["schema"] == "onnx-pare/zoo-verify/1"
    assert [finding["problem"] for finding in said["findings"]] == [
        "a.onnx.report.json: is missing",
        "a.onnx: is another file than the one that was written (SHA-256)",
    ]


def test_a_journal_from_elsewhere_reads_nothing_outside(command: Command, out: Path) -> None:
    (out.parent / "secret").touch()
    journal = out / "journal.jsonl"
    journal.write_text(
        journal.read_text(encoding="utf-8").replace('"path":"a.onnx"', '"path":"../secret"'), encoding="utf-8"
    )
    ran = command("pare", "zoo", "verify", out)
    assert ran.code == 1
    assert "../secret: leaves the folder; it is not read" in ran.out


def test_a_folder_that_is_none_of_a_batch(command: Command, tmp_path: Path) -> None:
    for name in ("status", "verify"):
        ran = command("pare", "zoo", name, tmp_path)
        assert ran.code == 2
        assert "holds no journal.jsonl" in ran.err
