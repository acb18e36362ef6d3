"""Whether the files of a batch are those that its journal tells of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from onnx_pare.zoo.journal import Record, read_journal
from onnx_pare.zoo.task import Status


@dataclass(frozen=True)
class Finding:
    """An output that is not what the journal says; `problem` says how."""

    model: str
    problem: str


def verify(folder: Path) -> Iterator[Finding]:
    """Hold every output and report against the journal in `folder`.

    Raises:
        InputError: There is no journal, or a line is none of a journal.
    """
    for record in read_journal(folder):
        if record.status is Status.OK:
            yield from (Finding(record.model, problem) for problem in _problems(record, folder))


def _problems(record: Record, folder: Path) -> Iterator[str]:
    from onnx_pare.graph.load import sha256

    files = record.output.files() if record.output else {}
    names = [*files, *([record.report] if record.report else [])]
    outside = [
        name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
    ]
    if outside:
        yield f"{outside[0]}: leaves the folder; it is not read"
        return
    for name in names:
        if not (folder / name).is_file():
            yield f"{name}: is missing"
    for name, digest in files.items():
        if (folder / name).is_file() and sha256(folder / name) != digest:
            yield f"{name}: is another file than the one that was written (SHA-256)"
