"""Processes and what they started: ending them, and the memory they hold. Linux tells more than others."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import resource

_PR_SET_PDEATHSIG = 1
_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent `parent` ends, be it by SIGKILL; on Linux only.

    Strictly it is the parent's thread that started this process whose end counts (prctl(2)).
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before that
        os.kill(os.getpid(), signal.SIGKILL)


def die_first() -> None:
    """Of all processes, let the kernel choose this one when memory runs out; does nothing but on Linux."""
    score = _PROC / "self" / "oom_score_adj"
    if score.exists():
        score.write_text("1000", encoding="ascii")


def family(pid: int) -> Iterator[int]:
    """Yield a process and all that descend from it; just the process where the system does not tell."""
    yield pid
    try:
        texts = [thread / "children" for thread in (_PROC / str(pid) / "task").iterdir()]
        children = [int(child) for text in texts for child in text.read_text(encoding="ascii").split()]
    except OSError:  # it has ended, or this system has no such files
        return
    for child in children:
        yield from family(child)


def kill_family(pid: int) -> None:
    """Kill a process, its group and all that descend from it; nothing happens to those that have ended."""
    for member in list(family(pid)):
        _kill(member)
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS: no permission for a group of zombies
        return


def memory_bytes(pid: int) -> int:
    """Return what a process and its descendants hold that is not a file's content; 0 if not known."""
    return sum(sum(_status_bytes(member, ("RssAnon", "RssShmem"))) for member in family(pid))


def allocated_bytes(pid: int) -> int:
    """Return what a process has asked for, used or not, as RLIMIT_DATA counts it; 0 if not known."""
    return sum(_status_bytes(pid, ("VmData",)))


def give_back() -> None:
    """Give memory that was freed back to the system, where the C library keeps it: glibc's malloc_trim(3)."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def machine_memory_bytes() -> int | None:
    """Return the memory that this process shares with others, None where the system does not tell.

    That is the machine's, or what its container or job may use.
    """
    return min(_shared_memory(), default=None)


def peak_bytes(usage: resource.struct_rusage) -> int:
    """Return the most memory that the process of this usage held, in bytes; macOS counts it in these."""
    return usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024


def _shared_memory() -> Iterator[int]:
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in _memory_groups():
        text = file.read_text(encoding="ascii").strip() if file.is_file() else ""
        if text.isdecimal():
            yield int(text)


def _memory_groups() -> Iterator[Path]:
    """Yield where limits of this process's control groups may stand (cgroups(7)), of both versions.

    Inside a container the root alone may be seen, and is the container's own group.
    """
    try:
        lines = (_PROC / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers in ("", "memory"):
            folder = Path(group.lstrip("/"))
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            yield from (_CGROUPS / controllers / each / name for each in (folder, *folder.parents))


def _status_bytes(pid: int, keys: Sequence[str]) -> list[int]:
    try:
        text = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended, or this system has no such file
        return []
    facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return [int(facts[key].split()[0]) * 1024 for key in keys if key in facts]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
