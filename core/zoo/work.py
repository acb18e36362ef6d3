"""What is done with one model, in a process that exists for it alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onnx_pare.errors import InputError, OutputError, PareError
from onnx_pare.progress import Advance
from onnx_pare.zoo.identity import key
from onnx_pare.zoo.task import Kind, Outcome, Status, Task, failed

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_pare.pipeline.report import ModelFile, Report

# what onnxruntime and numpy say when memory runs out, where they raise something else than MemoryError
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "Cannot allocate memory", "Unable to allocate")
# a step is told of at most so often
STEP_S = 0.2

Say = Callable[[Mapping[str, Any]], None]


def work(task: Task, say: Say) -> Outcome:
    """Do a task; whatever goes wrong is in the outcome.

    Args:
        task: The task.
        say: Takes what happens meanwhile: `{"event": "step", "label", "done", "total"}`.
    """
    identity = ""
    try:
        identity = key(task.job, task.digests)
        if task.recorded == identity:
            return Outcome(Status.UNCHANGED, key=identity)
        return Outcome(Status.OK, key=identity, facts=_run(task, say))
    except Exception as error:
        kind, reason = why(error)
        return failed(kind, reason, key=identity)


def _run(task: Task, say: Say) -> Mapping[str, Any]:
    from onnx_pare.documents.json_text import json_text
    from onnx_pare.graph.save import make_folder, publish_text
    from onnx_pare.pipeline.run import run

    make_folder(task.job.target.parent)
    report = run(task.job, _Told(say))
    publish_text(json_text(report.to_json()), task.report)
    return facts(report, task.job.target)


def facts(report: Report, target: Path) -> dict[str, Any]:
    """Return what the journal says about a model that is done and lies at `target`."""
    before, after = report.before["size_bytes"], report.after["size_bytes"]
    return {
        "output": None if report.output is None else _written(report.output, target),
        "size_ratio": after / before if before else None,
        "speedup": {entry["profile"]: entry["speedup"] for entry in report.latency},
        "gates_passed": report.passed,
        "warnings": len(report.warnings),
    }


def _written(output: ModelFile, target: Path) -> dict[str, Any]:
    from onnx_pare.graph.load import external_locations, sha256
    from onnx_pare.graph.save import data_file

    data = data_file(target)
    return {
        "sha256": output.sha256,
        "size_bytes": output.size_bytes,
        "data_sha256": sha256(data) if data.name in external_locations(target) else None,
    }


def why(error: BaseException) -> tuple[Kind, str]:
    """Return why a model failed, and the same in words."""
    chain = list(_causes(error))
    if any(isinstance(one, MemoryError) or any(sign in str(one) for sign in _OUT_OF_MEMORY) for one in chain):
        return Kind.MEMORY, f"out of memory: {error}".removesuffix(": ")
    if isinstance(error, PareError):
        said = f"{error.message}; {error.hint}" if error.hint else error.message
        return _kind(error), said
    if isinstance(error, OSError):
        return Kind.READ, f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    return Kind.INTERNAL, f"internal error: {type(error).__name__}: {error}"


def _kind(error: PareError) -> Kind:
    if isinstance(error, OutputError):
        return Kind.FULL if error.full else Kind.OUTPUT
    return Kind.INPUT if isinstance(error, InputError) else Kind.PASS


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class _Told:
    """A `Progress` that is told to another process."""

    def __init__(self, say: Say) -> None:
        self._say = say

    @contextmanager
    def task(self, label: str, total: int | None) -> Iterator[Advance]:
        done, last = 0, time.monotonic()
        self._say({"event": "step", "label": label, "done": 0, "total": total})

        def advance(steps: int) -> None:
            nonlocal done, last
            done += steps
            if time.monotonic() - last >= STEP_S:
                last = time.monotonic()
                self._say({"event": "step", "label": label, "done": done, "total": total})

        yield advance
