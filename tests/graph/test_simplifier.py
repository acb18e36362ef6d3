"""onnxsim in its own process: what a crash, a hang and a refusal turn into."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import onnx_ir as ir
import pytest

from onnx_pare.graph import simplifier
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.graph.simplifier import SimplifierError, SimplifierTimeoutError, run_onnxsim

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[2] x) => (float[2] y) { z = Identity (x)  y = Relu (z) }"""


def run(child: str, folder: Path, monkeypatch: pytest.MonkeyPatch, timeout_s: float = 30) -> None:
    """Run `child`, the text of a module, in place of the module that calls onnxsim."""
    (folder / "stand_in.py").write_text(child)
    monkeypatch.setattr(simplifier, "CHILD", "stand_in")
    run_onnxsim(folder / "in.onnx", folder / "out.onnx", skip=(), timeout_s=timeout_s)


def test_the_real_one(tmp_path: Path) -> None:
    write_model(ir.from_onnx_text(TEXT), tmp_path / "in.onnx")
    run_onnxsim(tmp_path / "in.onnx", tmp_path / "out.onnx", skip=(), timeout_s=60)
    assert [node.op_type for node in load_model(tmp_path / "out.onnx").graph] == ["Relu"]


def test_a_refusal_is_told(tmp_path: Path) -> None:
    (tmp_path / "in.onnx").write_bytes(b"this is no model")
    with pytest.raises(SimplifierError, match=r"onnxsim failed: .*\w"):
        run_onnxsim(tmp_path / "in.onnx", tmp_path / "out.onnx", skip=(), timeout_s=60)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize(
    ("name", "reason"),
    [("SIGSEGV", "ended by SIGSEGV"), ("SIGKILL", r"ended by SIGKILL \(out of memory\?\)")],
)
def test_a_crash_is_told(name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SimplifierError, match=reason):
        run(f"import os, signal; os.kill(os.getpid(), signal.{name})", tmp_path, monkeypatch)


def test_an_exception_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SimplifierError, match="onnxsim failed: ValueError: bad luck"):
        run("raise ValueError('bad luck')", tmp_path, monkeypatch)


def test_no_model_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SimplifierError, match="without writing a model"):
        run("print('so what')", tmp_path, monkeypatch)


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_a_hang_is_ended_with_all_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = """
import subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open("pid", "w").write(str(grandchild.pid))
time.sleep(60)
"""
    start = time.monotonic()
    with pytest.raises(SimplifierTimeoutError, match=r"did not end within 2 s"):
        run(child, tmp_path, monkeypatch, timeout_s=2)
    assert time.monotonic() - start < 20
    assert _ended(int((tmp_path / "pid").read_text()))


def _ended(pid: int) -> bool:
    """Return whether the process ends within five seconds; a zombie nobody has asked for counts as ended."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False
