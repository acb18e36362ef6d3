"""A trial tells whether onnxruntime loads a model, and survives what the attempt does."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import onnx.parser
import pytest

from onnx_pare.graph.trial import refusal

GOOD = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Neg(x) }'


def saved(text: str, folder: Path) -> Path:
    path = folder / "m.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def test_loads(tmp_path: Path) -> None:
    assert refusal(saved(GOOD, tmp_path)) == ""


def test_refused_with_the_reason(tmp_path: Path) -> None:
    assert "Negg" in refusal(saved(GOOD.replace("Neg", "Negg"), tmp_path))


@pytest.mark.parametrize(
    ("body", "said"),
    [("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
     ("import time; time.sleep(60)", "took more than"),
     ("raise SystemExit('no such module')", "no such module")],
)  # fmt: skip
def test_crashes_and_hangs(body: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{body}"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    assert said in refusal(saved(GOOD, tmp_path), timeout_s=5)
