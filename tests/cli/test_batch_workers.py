from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import Command
from .test_batch import OPTIMIZE, RECIPE, endless, net

RUN = ("optimize", "zoo", "-c", "r.yaml", "-o", "out", "--cluster")


@pytest.fixture(autouse=True)
def zoo(folder: Path) -> Path:
    """Return a folder with a recipe and a zoo of two models, one of them broken."""
    net(folder / "zoo" / "deep" / "a.onnx")
    (folder / "zoo" / "broken.onnx").write_bytes(b"no model")
    (folder / "r.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def test_a_cluster_that_is_started_for_the_batch(command: Command) -> None:
    ran = command(*RUN, "local:1")
    assert ran.code == 4
    assert ran.err.splitlines()[0] == "cluster local:1: 1 models at a time"
    lines = [json.loads(line) for line in Path("out/journal.jsonl").read_text().splitlines()]
    assert {line["model"]: line["kind"] for line in lines} == {"deep/a.onnx": None, "broken.onnx": "input"}
    assert all("/tcp://127.0.0.1:" in line["worker"] for line in lines)
    assert "2 unchanged" in command(*RUN, "local:1").out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("local:x",), "--cluster local:x: no number of processes"),
        (("somewhere",), "--cluster somewhere: no address"),
        (("local:1", "--jobs", "2"), "--jobs and --cluster"),
        (("local:1", "--calibration", "memory://data"), "memory:// lies in one process"),
    ],
)
def test_what_cannot_be_used(command: Command, flags: tuple[str, ...], message: str) -> None:
    ran = command(*RUN, *flags)
    assert ran.code == 2
    assert ran.err.startswith(f"error: {message}")
    assert Path("out/journal.jsonl").read_text() == ""


def test_ctrl_c_ends_the_cluster_at_once(zoo: Path) -> None:
    endless(zoo / "zoo" / "deep" / "a.onnx")
    process = subprocess.Popen(
        [*OPTIMIZE, *RUN[1:], "local:1"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    marks = zoo / "out" / ".onnx-pare" / "in-flight"
    deadline = time.monotonic() + 60
    while not (marks.is_dir() and list(marks.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes of the group
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to go on" in said
    assert "Traceback" not in said
    until_gone = time.monotonic() + 10
    while _session(process.pid) and time.monotonic() < until_gone:
        time.sleep(0.05)
    assert _session(process.pid) == []


def _session(leader: int) -> list[str]:
    """Return the processes of a session."""
    ran = subprocess.run(["ps", "-o", "args=", "--sid", str(leader)], capture_output=True, text=True)
    return ran.stdout.splitlines()
