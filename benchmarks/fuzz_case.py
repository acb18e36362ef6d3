"""One case of fuzz.py: the command line in a forked child, and what is wrong with how it ended."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

OUTPUT = "out.onnx"
GRACE_S = 0.02


@dataclass
class Case:
    """What is run.

    Attributes:
        seed: Makes this very case again.
        kind: What was mutated, and how.
        command: The arguments; files are named relative to the case's folder.
        files: The files there, by name.
    """

    seed: int
    kind: str
    command: Sequence[str]
    files: dict[str, bytes] = field(repr=False)


@dataclass
class Ended:
    """How a case ended.

    Attributes:
        case: The case.
        code: Exit code; negative: minus the signal.
        seconds: How long it took.
        peak_bytes: Resident memory at most.
        said: What it wrote to stderr.
        findings: What must not be; empty if all is well.
    """

    case: Case
    code: int
    seconds: float
    peak_bytes: int
    said: str
    findings: list[str]

    @property
    def reason(self) -> str:
        """The line of reason, without what differs from case to case."""
        line = next((text for text in self.said.splitlines() if text.startswith("error: ")), "")
        return re.sub(r"'[^']*'|\d+|\[[^]]*\]", "_", line)[:90]


def run(case: Case, *, timeout_s: float, memory_bytes: int) -> Ended:
    """Run one case in a folder of its own, and look at what it left."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        for name in ("work", "tmp"):
            (folder / name).mkdir()
        for name, content in case.files.items():
            (folder / "work" / name).write_bytes(content)
        start = time.perf_counter()
        code, peak = _fork(folder, case.command, timeout_s, memory_bytes)
        seconds = time.perf_counter() - start
        said = (folder / "stderr").read_text(errors="replace")
        ended = Ended(case, code, seconds, peak, said, [])
        ended.findings += _about_end(ended, timeout_s, memory_bytes) + _about_files(ended, folder)
        return ended
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fork(folder: Path, command: Sequence[str], timeout_s: float, memory_bytes: int) -> tuple[int, int]:
    pid = os.fork()
    if not pid:
        _child(folder, command, memory_bytes)
    deadline, killed = time.monotonic() + timeout_s, False
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            return (-signal.SIGALRM if killed else os.waitstatus_to_exitcode(status)), used.ru_maxrss * 1024
        if time.monotonic() > deadline and not killed:
            killed = True
            os.killpg(pid, signal.SIGKILL)
        time.sleep(GRACE_S)


def _child(folder: Path, command: Sequence[str], memory_bytes: int) -> None:
    """Become the command; never returns."""
    code = 99
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number, name in ((1, "stdout"), (2, "stderr")):
            handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
        os.chdir(folder / "work")
        code = _command(command)
    finally:
        os._exit(code)


def _command(command: Sequence[str]) -> int:
    from onnx_pare.cli import main

    entries: dict[str, Callable[[], None]] = {"optimize": main.optimize, "pare": main.pare}
    sys.argv = list(command)
    try:
        entries[command[0]]()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 98
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _about_end(ended: Ended, timeout_s: float, memory_bytes: int) -> list[str]:
    found = []
    if ended.code == -signal.SIGALRM:
        return [f"hangs beyond {timeout_s:g} s"]
    if ended.code < 0:
        found.append(f"native crash: {signal.Signals(-ended.code).name}")
    elif ended.code not in (0, 1, 2, 3):
        found.append(f"exit code {ended.code}")
    if "Traceback" in ended.said or "internal error" in ended.said:
        found.append("traceback or internal error")
    if ended.peak_bytes > memory_bytes:
        found.append(f"{ended.peak_bytes >> 20} MiB of memory")
    errors = [line for line in ended.said.splitlines() if line.startswith("error: ")]
    if ended.code in (2, 3) and len(errors) != 1:
        found.append(f"{len(errors)} lines of reason")
    if re.search(r"[^\x20-\x7e\n\u00a0-\U0010ffff]", ended.said):
        found.append("control characters in the message")
    if re.search(r"error: .{2000}", ended.said):
        found.append("an endless line of reason")
    if (
        re.search(r"\b(?!Shape|Type)\w+(Error|Exception): ", ended.said)
        and "traceback or internal error" not in found
    ):
        found.append("an exception's name shows through")
    return found


def _about_files(ended: Ended, folder: Path) -> list[str]:
    left = [str(path.relative_to(folder)) for path in (folder / "tmp").rglob("*")]
    work = {path.name for path in (folder / "work").iterdir()} - set(ended.case.files)
    output = folder / "work" / OUTPUT
    expected = {OUTPUT, "report.json"} if ended.code in (0, 1) else set()
    found = []
    if ended.code >= 0 and (left or work - expected):
        found.append(f"left behind: {[*left, *(work - expected)][:3]}")
    for name, content in ended.case.files.items():
        if (folder / "work" / name).read_bytes() != content:
            found.append(f"changed {name}")
    if ended.code in (0, 1) and ended.case.command[0] == "optimize":
        found += _loads(output)
    return found


def _loads(path: Path) -> list[str]:
    from onnx_pare.graph.trial import refusal

    if not path.is_file():
        return ["said that it wrote, but did not"]
    reason = refusal(path, timeout_s=60)
    return [f"the output does not load: {reason[:100]}"] if reason else []
