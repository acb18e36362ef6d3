"""Whatever ends a command, its temporary files go and nothing half-written stays."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from onnx_pare.cli import ending
from onnx_pare.cli.ending import clean
from onnx_pare.zoo.folder import PRIVATE_NAME

DEMO = Path(sys.modules["onnx_pare"].__file__ or "").parent / "demo" / "digits.onnx"
RECIPE = """
version: 1
calibration: {samples: 2}
passes: [simplify, quantize_fp16]
benchmark: {profiles: [local], runs: 1000000}
"""
RUN = (
    "-c",
    "from onnx_pare.cli.main import optimize; optimize()",
    "m.onnx",
    "-c",
    "r.yaml",
    "-o",
    "out.onnx",
)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for name in ("work", "tmp"):
        (tmp_path / name).mkdir()
    shutil.copy(DEMO, tmp_path / "work" / "m.onnx")
    (tmp_path / "work" / "r.yaml").write_text(RECIPE)
    return tmp_path


def started(work: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *RUN],
        cwd=work / "work",
        env={**os.environ, "TMPDIR": str(work / "tmp")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for(pattern: str, folder: Path, process: subprocess.Popen[bytes]) -> list[Path]:
    """Return what is found once something is, or the process has ended."""
    deadline = time.monotonic() + 60
    found: list[Path] = []
    while not found and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        with suppress(FileNotFoundError):  # of a folder that went while it was looked at
            found = list(folder.glob(pattern))
    return found


@pytest.mark.parametrize(
    ("number", "stage"),
    [
        (signal.SIGTERM, "onnx-pare-*"),
        (signal.SIGHUP, "onnx-pare-*/onnx-pare-*"),
        (signal.SIGINT, "onnx-pare-*/onnx-pare-*/1-simplify.onnx"),
        (signal.SIGTERM, "onnx-pare-*/onnx-pare-*/1-simplify.onnx"),
        (signal.SIGTERM, "**/2-quantize_fp16.onnx"),
    ],
)
def test_signals_at_every_stage(work: Path, number: signal.Signals, stage: str) -> None:
    process = started(work)
    found = wait_for(stage, work / "tmp", process)
    assert found
    root = next((work / "tmp").iterdir())
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    for _ in range(3):  # the first ends it; those that follow do not cut the clearing up short
        process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert list((work / "tmp").iterdir()) == []
    assert sorted(path.name for path in (work / "work").iterdir()) == ["m.onnx", "r.yaml"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_onnxsim_ends_with_a_parent_that_is_killed(work: Path) -> None:
    process = started(work)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while not (child := children.read_text().split()):
        assert time.monotonic() < deadline
    while b"simplifier_child" not in Path(f"/proc/{child[0]}/cmdline").read_bytes():
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    while (state := Path(f"/proc/{child[0]}/stat")).exists() and state.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "onnxsim outlives its parent"
        time.sleep(0.01)


def test_temporary_files_lie_in_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = signal.getsignal(signal.SIGTERM)
    with clean():
        file = Path(tempfile.mkstemp()[1])
        assert file.parent.parent == tmp_path
        assert Path(os.environ["TMPDIR"]) == file.parent
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert re.fullmatch(PRIVATE_NAME, file.parent.name)  # a batch knows it again after SIGKILL
    assert list(tmp_path.iterdir()) == []
    assert (os.environ["TMPDIR"], tempfile.tempdir) == (str(tmp_path), None)
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_exception_takes_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        _interrupted()
    assert ended.value.code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def _interrupted() -> None:
    with clean():
        tempfile.mkdtemp()
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_in_the_moment_the_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    mkdir = Path.mkdir

    def mkdir_and_end(path: Path, mode: int) -> None:
        mkdir(path, mode)
        assert len(list(tmp_path.iterdir())) == 1
        signal.raise_signal(number)

    def command() -> None:
        with clean():
            pytest.fail("the end has not come")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "mkdir", mkdir_and_end)
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    with clean():
        assert tempfile.tempdir == "/nowhere/at/all"


def test_an_end_that_became_another_error_is_one() -> None:
    """Importing a native module makes an ImportError of any exception."""

    def command() -> None:
        with clean():
            try:
                signal.raise_signal(signal.SIGTERM)
            except SystemExit as error:
                raise ImportError("initialization failed") from error

    with pytest.raises(SystemExit) as caught:
        command()
    assert caught.value.code == 143


def test_an_end_that_was_swallowed_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_S", 0.05)

    def command() -> None:
        with clean():
            try:
                signal.raise_signal(signal.SIGINT)
            except SystemExit:
                time.sleep(10)

    before = time.monotonic()
    with pytest.raises(SystemExit) as caught:
        command()
    assert caught.value.code == 130
    assert time.monotonic() - before < 5
