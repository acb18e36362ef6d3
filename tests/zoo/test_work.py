from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_pare.errors import OutputError, PassError
from onnx_pare.pipeline import run as pipeline
from onnx_pare.pipeline.recipe import load_recipe
from onnx_pare.zoo.task import Kind, Outcome, Status, Task
from onnx_pare.zoo.work import work


def silent(event: Any) -> None:
    """Hear nothing."""


def test_what_the_journal_says_of_a_model(task: Task) -> None:
    outcome = work(task, silent)
    assert outcome.status is Status.OK
    assert outcome.facts["speedup"] == {}
    assert outcome.facts["gates_passed"] is True
    assert outcome.facts["size_ratio"] == pytest.approx(
        task.job.target.stat().st_size / task.job.model.stat().st_size
    )
    assert Outcome.from_json(outcome.to_json()) == outcome


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (PassError("simplify", "is wrong\nvery"), Kind.PASS, "pass simplify: is wrong; very"),
        (OutputError("x: cannot be written", full=True), Kind.FULL, "x: cannot be written"),
        (OutputError("x: exists"), Kind.OUTPUT, "x: exists"),
        (MemoryError(), Kind.MEMORY, "out of memory"),
        (RuntimeError("std::bad_alloc"), Kind.MEMORY, "out of memory: std::bad_alloc"),
        (np.exceptions.AxisError("axis"), Kind.INTERNAL, "internal error: AxisError: axis"),
        (OSError(errno.EIO, "Input/output error", "a.onnx"), Kind.READ, "a.onnx: Input/output error"),
    ],
)
def test_why_a_model_failed(
    task: Task, error: Exception, kind: Kind, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run", fail)
    outcome = work(task, silent)
    assert (outcome.status, outcome.kind, outcome.reason) == (Status.FAILED, kind, reason)
    assert outcome.key
    assert not task.report.exists()


def test_out_of_memory_behind_another_error(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        try:
            raise MemoryError
        except MemoryError as error:
            raise PassError("simplify", "failed") from error

    monkeypatch.setattr(pipeline, "run", fail)
    assert work(task, silent).kind is Kind.MEMORY


def test_a_missing_model(task: Task, tmp_path: Path) -> None:
    task = replace(task, job=replace(task.job, model=tmp_path / "none.onnx"))
    outcome = work(task, silent)
    assert (outcome.kind, outcome.key) == (Kind.READ, "")
    assert outcome.reason.endswith("none.onnx: No such file or directory")


def test_data_that_cannot_be_read(task: Task, recipe_file: Path) -> None:
    recipe = load_recipe(str(recipe_file), ["calibration.data=none.npz"])
    data = {str(recipe.calibration_path): "unreadable"}
    outcome = work(replace(task, job=replace(task.job, recipe=recipe), digests=data), silent)
    assert outcome.kind is Kind.INPUT
    assert "none.npz" in outcome.reason
