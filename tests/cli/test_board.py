from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from onnx_pare.cli import board as module
from onnx_pare.cli import console
from onnx_pare.cli.board import Board, board, show_tally
from onnx_pare.zoo.journal import Record
from onnx_pare.zoo.tally import tally
from onnx_pare.zoo.task import Kind, Status

GREW = Record(model="a.onnx", status=Status.OK, size_ratio=1.25, speedup={"local": 0.5, "pi": 1.0}, seconds=2)
SHRANK = Record(model="b.onnx", status=Status.OK, size_ratio=0.25, speedup={"local": 2.0}, seconds=0.5)
FAILED = Record(model="[b].onnx", status=Status.FAILED, kind=Kind.TIMEOUT, reason="did not end", seconds=9)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Console:
    """Return what takes the place of stderr: a terminal of 60 columns."""
    shown = Console(file=io.StringIO(), force_terminal=True, width=60, color_system=None, highlight=False)
    monkeypatch.setattr(console, "err", lambda: shown)
    return shown


def text(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


def test_a_line_for_each_model(stderr: Console) -> None:
    lines = Board(3, None, lines=True)
    for record in (GREW, SHRANK, FAILED):
        lines.finished(record)
    said = " ".join(text(stderr).split())
    assert "[1/3] ok a.onnx 1.25× larger, 2.00× slower on local, same on pi, 2.00 s" in said
    assert "[2/3] ok b.onnx 4.00× smaller, 2.00× faster on local, 500 ms" in said
    assert "[3/3] failed [b].onnx: timeout: did not end" in said


def test_quiet_says_what_failed(stderr: Console) -> None:
    quiet = Board(2, None, lines=False)
    quiet.note("a note")
    for record in (SHRANK, FAILED):
        quiet.finished(record)
    assert text(stderr) == "[2/2] failed  [b].onnx: timeout: did not end\n"


def test_bars_fit_the_terminal(stderr: Console) -> None:
    with board(2, bars=True, lines=True) as shown:
        shown.hear(0, "deep/" * 30 + "a.onnx", {"event": "started"})
        shown.hear(0, "deep/" * 30 + "a.onnx", {"event": "step", "label": "x" * 90, "done": 1, "total": 4})
        shown.finished(SHRANK)
        assert shown._bars is not None
        shown._bars.refresh()
        shown.hear(0, "a.onnx", {"event": "ended"})
    said = text(stderr)
    assert "all models" in said
    assert "1/4" in said
    assert "…" in said
    assert module.NARROWEST + module.BESIDE_TEXT <= 60


def test_the_sums(tmp_path: Path) -> None:
    out = Console(file=io.StringIO(), width=200, highlight=False)
    show_tally(tally([GREW, SHRANK, FAILED], 4, unchanged=1), str(tmp_path), out)
    said = text(out)
    assert "models   4 (1 unchanged since an earlier run)" in said
    assert "pending  1" in said
    assert "failed   1  (timeout 1)" in said
    assert "size     1.79× smaller (geometric mean of 2)" in said
    assert "speed    same on local, measured (geometric mean of 2)" in said
    assert "timeout: [b].onnx: did not end" in said
