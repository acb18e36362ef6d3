"""The output folder of a batch: one run at a time, and what a run before it left behind."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from onnx_pare.errors import OutputError
from onnx_pare.graph.save import make_folder, publish_text, remove_leftovers

STATE = ".onnx-pare"
SUMMARY = "summary.json"
ROOM_BYTES = 1 << 20
_SCRATCH_PREFIX = "onnx-pare-zoo-"
_SCRATCH_NAME = f"{_SCRATCH_PREFIX}[a-z0-9_]{{8}}"  # what `tempfile` puts behind a prefix
# the folder that a command keeps all its temporary files in: `cli.ending` makes it
PRIVATE_NAME = "onnx-pare-[0-9a-f]{16}"


class OutputFolder:
    """An output folder that this run alone writes to.

    Models in flight are marked, so that what a killed run left of them is known as its own, and replaced.

    Attributes:
        path: The folder.
        scratch: A private folder for temporary files, gone afterwards.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        self.path = path
        self.scratch = scratch

    def target(self, model: str) -> str:
        """Return where a model's result goes: a path, or a URL."""
        return str(self.path / model)

    def has(self, model: str) -> bool:
        """Return whether there is a result of a model."""
        return Path(self.target(model)).is_file()

    def read_report(self, name: str) -> Mapping[str, Any]:
        """Return the report of this name, as JSON values.

        Raises:
            ReportError: It cannot be read, or is no report.
        """
        from onnx_pare.pipeline.earlier import read_values

        return read_values(Path(self.target(name)))

    def mark(self, model: str) -> None:
        """Note that work on a model begins, before anything of it is written.

        Raises:
            OutputError: The disk is full, or read-only by now.
        """
        mark = self._mark(model)
        try:
            mark.write_text(model, encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise OutputError(f"{mark}: cannot be written: {error.strerror}", full=True) from error

    def unmark(self, model: str) -> None:
        """Note that the journal has it."""
        self._mark(model).unlink(missing_ok=True)

    def in_flight(self, model: str) -> bool:
        """Return whether a run was stopped while it worked on a model."""
        return self._mark(model).exists()

    def has_room(self) -> bool:
        """Return whether a megabyte can be written."""
        try:
            with tempfile.TemporaryFile(dir=self.path / STATE) as file:
                file.write(bytes(ROOM_BYTES))
                file.flush()
        except OSError:
            return False
        return True

    def _mark(self, model: str) -> Path:
        name = hashlib.sha256(model.encode(errors="surrogateescape")).hexdigest()[:32]
        return self.path / STATE / "in-flight" / name


@contextmanager
def open_folder(path: Path) -> Iterator[OutputFolder]:
    """Make the folder if it is missing, and hold its lock while the context lasts.

    Raises:
        OutputError: It cannot be written, or another run holds the lock.
    """
    state = path / STATE
    make_folder(state / "in-flight")
    with ExitStack() as stack:
        stack.enter_context(_locked(path, state / "lock"))
        _remove_scratch(state / "scratch")
        for written in (state / "scratch", state / "holder", path / SUMMARY):
            remove_leftovers(written)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX))
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        publish_text(str(scratch), state / "scratch")
        yield OutputFolder(path, scratch)


@contextmanager
def _locked(path: Path, lock: Path) -> Iterator[None]:
    """Hold a lock that the kernel gives back when this process ends, however it ends."""
    from filelock import FileLock, Timeout

    held, holder = FileLock(lock), lock.with_name("holder")
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        who = holder.read_text(encoding="utf-8", errors="replace")[:200] if holder.exists() else "another run"
        raise OutputError(
            f"{path}: is in use by {who}", hint="Wait for it to end, or choose another output folder."
        ) from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be locked: {error.strerror or error}") from error
    try:
        publish_text(f"process {os.getpid()} on {socket.gethostname()}", holder)
        yield
    finally:
        holder.unlink(missing_ok=True)
        held.release()


def _remove_scratch(note: Path) -> None:
    """Remove the temporary files of a run that was killed; the note is only believed where it can be true."""
    if not note.is_file():
        return
    folder = Path(note.read_text(encoding="utf-8", errors="replace")[:4096])
    if _ours(folder, _SCRATCH_NAME):
        around = folder.parent
        shutil.rmtree(around if _ours(around, PRIVATE_NAME) else folder, ignore_errors=True)


def _ours(folder: Path, pattern: str) -> bool:
    """Return whether a folder is one that a command of this user made for its temporary files."""
    try:
        status = folder.lstat()
    except (OSError, ValueError):  # ValueError: a null character
        return False
    private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
    return private and status.st_uid == os.getuid() and bool(re.fullmatch(pattern, folder.name))
