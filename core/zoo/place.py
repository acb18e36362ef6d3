"""Where a worker works and measures: its cores, its threads, its scratch folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onnx_pare.hw_profiles.local import local_profile_path
from onnx_pare.processes import machine_memory_bytes

# what all workers of a machine together may take of its memory
MEMORY_SHARE = 0.9


@dataclass(frozen=True)
class Place:
    """Where one worker works.

    Attributes:
        scratch: Folder for temporary files.
        cwd: The folder that relative paths start from.
        lock: The file whose lock a worker holds while it measures; empty: it measures at any time.
        cores: Logical cores it works on; empty: all.
        measuring: Those it measures on, if they are others.
        threads: Threads of numpy's matrix products.
    """

    scratch: str
    cwd: str
    lock: str = ""
    cores: tuple[int, ...] = ()
    measuring: tuple[int, ...] = ()
    threads: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Place:
        """Return what `to_json` gave."""
        return cls(**{**said, "cores": tuple(said["cores"]), "measuring": tuple(said["measuring"])})

    def settle(self) -> None:
        """Go to the folder, and bind this process to its cores, where the system can."""
        os.chdir(self.cwd)
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)


@dataclass(frozen=True)
class Places:
    """Where the workers of one machine work.

    Attributes:
        places: One for each worker; there may be fewer than were asked for.
        note: What the user should know about it, if anything.
    """

    places: tuple[Place, ...]
    note: str = ""


def divide(jobs: int, threads: int, cores: tuple[int, ...], scratch: Path, lock: Path) -> Places:
    """Give workers their cores, so that a latency is never measured on a core that another one works on.

    - Enough cores for all to have `threads` of their own: each works and measures on its share.
    - Fewer: the last `threads` cores are kept for measuring, the workers share the others.
    - No more than `threads` cores at all: one worker, whatever was asked for.

    Args:
        jobs: Workers asked for.
        threads: Threads that latency is measured with; 0: none is measured.
        cores: Logical cores that may be used.
        scratch: Folder for temporary files.
        lock: The file whose lock a worker holds while it measures.
    """
    common = (str(scratch), str(Path.cwd()), str(lock))
    share = len(cores) // jobs
    if share >= max(1, threads):
        own = [cores[number * share : (number + 1) * share] for number in range(jobs)]
        return Places(tuple(Place(*common, part, (), share) for part in own))
    if len(cores) <= threads:
        note = f"latency is measured on all {len(cores)} cores: one model at a time, not {jobs}"
        return Places((Place(*common, cores, (), len(cores)),), note)
    shared, kept = cores[: len(cores) - threads], cores[len(cores) - threads :]
    note = (
        f"{jobs} workers share {_cores(len(shared))}; {_cores(threads)} kept for measuring" if threads else ""
    )
    place = Place(*common, shared, kept, max(1, len(shared) // jobs))
    return Places((place,) * jobs, note)


def measuring_lock(scratch: Path) -> Path:
    """Return the file whose lock is held while a worker measures: one for all batches of this user.

    Where the user has no folder for such files, it is one for the batch whose scratch folder this is.
    """
    lock = local_profile_path().with_name("measuring.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return scratch / lock.name
    return lock if os.access(lock.parent, os.W_OK) else scratch / lock.name


def memory_share(workers: int) -> int | None:
    """Return the bytes that one of `workers` may take here; None where the system does not tell."""
    total = machine_memory_bytes()
    return None if total is None else int(total * MEMORY_SHARE / workers)


def _cores(count: int) -> str:
    return "1 core is" if count == 1 else f"{count} cores are"
