from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnx_pare import processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SLEEP = "import time; held = b'x' * (50 << 20); print('up', flush=True); time.sleep(60)"
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def start() -> tuple[subprocess.Popen[str], int]:
    """Return a process and the number of its child, which holds 50 MiB."""
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_a_family_is_counted_and_ended_together() -> None:
    process, child = start()
    try:
        assert list(processes.family(process.pid)) == [process.pid, child]
        assert processes.memory_bytes(process.pid) > 50 << 20
    finally:
        processes.kill_family(process.pid)
    assert process.wait(10) != 0
    assert not _runs(child)


def test_those_who_ended_do_not_matter() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    processes.kill_family(process.pid)
    assert processes.memory_bytes(process.pid) == 0


def test_a_child_dies_with_its_parent() -> None:
    code = (
        "from onnx_pare import processes; import os; processes.die_with(os.getppid()); processes.die_first();"
    )
    parent = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {code + SLEEP!r}], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    assert not _runs(child)


def test_what_a_process_asked_for() -> None:
    before = processes.allocated_bytes(os.getpid())
    with mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE):
        assert processes.allocated_bytes(os.getpid()) - before >= 60 << 20


def test_freed_memory_is_given_back() -> None:
    pieces = [bytearray(64 << 10) for _ in range(1 << 10)]
    last = bytearray(64 << 10)  # above the others: what is freed below it stays with the process
    held = processes.memory_bytes(os.getpid())
    pieces.clear()
    processes.give_back()
    assert processes.memory_bytes(os.getpid()) < held - (32 << 20)
    assert len(last) == 64 << 10


@pytest.mark.parametrize(
    ("said", "limits", "expected"),
    [
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/\n", {"memory.max": "1000\n"}, 1000),
        (
            "0::/job/step\n",
            {"memory.max": "max", "job/memory.max": "2000", "job/step/memory.max": "max"},
            2000,
        ),
        ("0::/job\n", {"memory.max": "500", "job/memory.max": "2000"}, 500),
        ("2:cpuset:/\n4:memory:/docker/a:b\n", {"memory/memory.limit_in_bytes": "3000"}, 3000),
        ("4:memory:/job\n", {"memory/job/memory.limit_in_bytes": "9223372036854771712"}, None),
    ],
)
def test_the_memory_of_a_container_is_all_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, limits: dict[str, str], expected: int | None
) -> None:
    for folder, files in {"proc/self": {"cgroup": said}, "cgroup": limits}.items():
        for name, text in files.items():
            (file := tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(processes, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(processes, "_CGROUPS", tmp_path / "cgroup")
    assert processes.machine_memory_bytes() == (machine if expected is None else expected)
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    assert processes.machine_memory_bytes() == machine


def _runs(pid: int) -> bool:
    """Return whether a process is still there a moment later; a zombie is none."""
    import time

    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return False
        except FileNotFoundError:
            return False
        time.sleep(0.05)
    return True
