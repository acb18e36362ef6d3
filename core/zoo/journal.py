"""The journal of a batch: one line of JSON for every finished model, on disk before anything else happens.

Lines are only ever added. What a crash cut short is no line yet, and is dropped. A later line about a model
replaces an earlier one. Positions of lines are held in memory, not the lines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from pydantic import Field, ValidationError

from onnx_pare.documents.section import Section
from onnx_pare.errors import InputError, OutputError
from onnx_pare.graph.save import sync_folder
from onnx_pare.zoo.task import LASTING, Kind, Limits, Status

NAME = "journal.jsonl"
# a line is some 600 bytes; longer ones are not from here
MAX_LINE_BYTES = 1 << 20


class Output(Section):
    """A model that was written.

    Attributes:
        path: Where, below the output folder.
        sha256: The model file's, in hex.
        size_bytes: Both files' together.
        data_sha256: That of the weights' file beside it; None if there is none.
    """

    path: str
    sha256: str
    size_bytes: int
    data_sha256: str | None = None

    def files(self) -> dict[str, str]:
        """Return the SHA-256 of each file, by its path."""
        from onnx_pare.graph.save import data_file

        data = {} if self.data_sha256 is None else {str(data_file(Path(self.path))): self.data_sha256}
        return {self.path: self.sha256, **data}


class Record(Section):
    """A line of the journal.

    Attributes:
        model: The model's name in the batch.
        status: `ok`, `failed` or `skipped`.
        kind: Why it failed; None if it did not.
        reason: The same in one line; or why it was skipped.
        key: See `identity.key`.
        origin: See `identity.origin`; empty if the model is local, or has other files beside it.
        report: Where its report lies, below the output folder; None unless it is done.
        output: What was written; of a model that failed, what an earlier run left in its place.
        size_ratio: File size after over before.
        speedup: Latency before over after, by profile.
        gates_passed: Whether all gates were met.
        warnings: How many warnings its report has.
        limits: What it might take.
        seconds: Wall time in its worker.
        peak_rss_bytes: The most memory its process held.
        worker: Which worker did it.
        finished: When, in UTC (ISO 8601).
    """

    model: str
    status: Status
    kind: Kind | None = None
    reason: str = ""
    key: str = ""
    origin: str = ""
    report: str | None = None
    output: Output | None = None
    size_ratio: float | None = None
    speedup: dict[str, float | None] = Field(default={})
    gates_passed: bool = True
    warnings: int = 0
    limits: Limits = Limits()
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    worker: str = ""
    finished: str = ""

    def lasts(self, limits: Limits) -> bool:
        """Return whether the model need not be tried again as long as its key stays the same.

        A failure that was this machine's doing may go away; one for want of time or memory does when there is
        more of it.
        """
        if self.status is not Status.FAILED:
            return True
        if self.kind is Kind.TIMEOUT:
            return _no_more(limits.timeout_s, self.limits.timeout_s)
        if self.kind is Kind.MEMORY:
            return _no_more(limits.memory_bytes, self.limits.memory_bytes)
        return self.kind in LASTING


def _no_more(now: float | None, then: float | None) -> bool:
    return then is None or (now is not None and now <= then)


class Journal:
    """A journal open for adding lines; whoever opens it must hold the folder's lock."""

    def __init__(self, folder: Path) -> None:
        """Open or begin the journal in `folder`, and read where its lines lie.

        Raises:
            OutputError: It cannot be written.
            InputError: A line is none of a journal.
        """
        self.path = folder / NAME
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            sync_folder(folder)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error
        try:
            self._positions, self._end = _positions(self.path)
            os.ftruncate(self._file, self._end)  # a line cut short
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def __contains__(self, model: str) -> bool:
        return model in self._positions

    def find(self, model: str) -> Record | None:
        """Return the last line about a model."""
        if model not in self._positions:
            return None
        start, length = self._positions[model]
        return _read(os.pread(self._file, length, start), str(self.path))

    def append(self, record: Record) -> None:
        """Add a line; it is on disk when this returns.

        Raises:
            OutputError: It cannot be written; the journal is as it was before.
        """
        line = record.model_dump_json().encode() + b"\n"
        try:
            written = os.write(self._file, line)
            if written < len(line):  # a full disk takes a part; the rest says why
                os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror}",
                hint="What it holds is intact: run the same command again once there is space.",
                full=True,
            ) from error
        self._positions[record.model] = (self._end, len(line))
        self._end += len(line)


def read_journal(folder: Path) -> Iterator[Record]:
    """Yield the last line about each model, in the order of the file; nobody needs to hold the lock.

    Raises:
        InputError: There is no journal in `folder`, or a line is none of a journal.
    """
    path = folder / NAME
    if not path.is_file():
        raise InputError(f"{folder}: holds no {NAME}", hint="Give the output folder of a batch.")
    with path.open("rb") as file:
        for start, length in sorted(_positions(path)[0].values()):
            file.seek(start)
            yield _read(file.read(length), str(path))


def _positions(path: Path) -> tuple[dict[str, tuple[int, int]], int]:
    """Return where the last line about each model begins, with its length, and where the last of all ends."""
    found: dict[str, tuple[int, int]] = {}
    start = number = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            if len(line) == MAX_LINE_BYTES:
                raise InputError(
                    f"{path}:{number}: not a line of a journal: longer than {MAX_LINE_BYTES} bytes"
                )
            if not line.endswith(b"\n"):
                break
            found[_read(line, f"{path}:{number}").model] = (start, len(line))
            start += len(line)
    return found, start


def _read(line: bytes, where: str) -> Record:
    try:
        return Record.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"]))
        raise InputError(
            f"{where}: not a line of a journal: {f'{key}: ' if key else ''}{problem['msg'][:200]}",
            hint="Move the journal away; models that are done are then done again.",
        ) from error
