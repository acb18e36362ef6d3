from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from onnx_pare import __version__
from onnx_pare.pipeline.recipe import load_recipe
from onnx_pare.zoo import seat
from onnx_pare.zoo.seat import Seat, Terms
from onnx_pare.zoo.task import Kind, Status, Task

TERMS = Terms(0, str(Path.cwd()))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder that Dask keeps for this worker, which is this process."""
    import distributed

    folder = tmp_path / "dask"
    folder.mkdir()
    monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(local_directory=str(folder)))
    yield folder
    seat.stop()
    assert list(folder.iterdir()) == []


def here(number: int = 0, of: int = 1) -> Seat:
    return Seat(number, of, TERMS)


def test_a_task_is_done(task: Task, folder: Path) -> None:
    done = seat.run(task, here())
    assert (done.outcome.status, done.outcome.reason) == (Status.OK, "")
    assert task.job.target.is_file()
    assert len(list(folder.iterdir())) == 1
    assert seat.run(replace(task, recorded=done.outcome.key), here()).outcome.status is Status.UNCHANGED


def test_a_worker_that_has_not_the_folder(task: Task) -> None:
    assert seat.run(task, replace(here(), terms=Terms(0, "/none/such"))).outcome.status is Status.OK


def test_a_share_of_the_memory(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seat, "memory_share", lambda workers: 1000 * workers)
    shared = replace(TERMS, share_memory=True)
    outcome = seat.run(task, Seat(0, 2, shared)).outcome
    assert outcome.kind is Kind.MEMORY


def test_what_its_log_said(task: Task, recipe_file: Path) -> None:
    job = replace(task.job, recipe=load_recipe(str(recipe_file), ["passes=[quantize_fp16]"]))
    done = seat.run(replace(task, job=job, verbose=True), here())
    assert {event["event"] for event in done.log} == {"log"}


def test_a_worker_that_cannot_work(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(seat, "Slot", fail)
    outcome = seat.run(task, here()).outcome
    assert outcome.kind is Kind.KILLED
    assert "the worker cannot work" in outcome.reason


def test_who_it_is() -> None:
    said = seat.introduce()
    assert said.version == __version__
    assert said.cores
