from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnx_pare.errors import OutputError
from onnx_pare.graph import save
from onnx_pare.graph.load import sha256
from onnx_pare.graph.session import Session
from onnx_pare.pipeline.recipe import Recipe, load_recipe
from onnx_pare.zoo.batch import Batch, Run, measured_threads
from onnx_pare.zoo.folder import OutputFolder, open_folder
from onnx_pare.zoo.items import Item, Order
from onnx_pare.zoo.journal import Journal, read_journal
from onnx_pare.zoo.models import mirrored
from onnx_pare.zoo.tally import Tally
from onnx_pare.zoo.task import Kind, Limits, Outcome, Status, Task, failed
from onnx_pare.zoo.work import work

from .conftest import save_net

Do = Callable[[Task], Outcome]


class Here:
    """Runs each task in this process, at once; notes which."""

    width = 2

    def __init__(self, do: Do = lambda task: work(task, lambda event: None)) -> None:
        self.tasks: list[Task] = []
        self._do = do

    def submit(self, task: Task) -> Future[Outcome]:
        self.tasks.append(task)
        future: Future[Outcome] = Future()
        future.set_result(self._do(task))
        return future

    def close(self) -> None:
        """Nothing runs."""

    @property
    def names(self) -> list[str]:
        return [task.name for task in self.tasks]


def batch_of(models: Path, recipe: Recipe, out: Path, **more: object) -> Batch:
    items = [Item(one.name, one.location, Order(recipe)) for one in mirrored([str(models)], str(out))]
    return replace(Batch(items), **more)  # type: ignore[arg-type]


@contextmanager
def opened(batch: Batch, out: Path) -> Iterator[Run]:
    with open_folder(out) as folder, Journal(folder.path) as journal:
        yield Run(batch, folder, journal)


def done(batch: Batch, out: Path, workers: Here) -> Tally:
    with opened(batch, out) as run:
        list(run.results(workers))
        return run.tally()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_every_model_is_done_or_has_its_reason(models: Path, recipe: Recipe, out: Path) -> None:
    tally = done(batch_of(models, recipe, out), out, Here())
    assert tally.statuses == {Status.OK: 3, Status.FAILED: 1}
    assert tally.kinds == {Kind.INPUT: 1}
    assert tally.size_ratio.count == 3
    assert (tally.pending, tally.unchanged) == (0, 0)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.onnx")) == [
        "a.onnx", "b.onnx", "deep/c.onnx",
    ]  # fmt: skip
    for name in ("a.onnx", "deep/c.onnx"):
        width = {"a.onnx": 16, "deep/c.onnx": 18}[name]
        feeds = {"x": np.random.default_rng(0).normal(size=(1, width)).astype(np.float32)}
        [before], [after] = (Session(folder / name).run(feeds) for folder in (models, out))
        np.testing.assert_allclose(after, before, atol=0.02)
    assert [one.model for one in read_journal(out)] == ["a.onnx", "b.onnx", "broken.onnx", "deep/c.onnx"]
    assert list((out / ".onnx-pare" / "in-flight").iterdir()) == []


def test_what_is_done_is_not_done_again(models: Path, recipe: Recipe, out: Path) -> None:
    batch = batch_of(models, recipe, out)
    first = done(batch, out, Here())
    lines = (out / "journal.jsonl").read_bytes()
    again = done(batch, out, Here())
    assert again.unchanged == 4
    assert replace(again, unchanged=0).to_json() == first.to_json()
    assert (out / "journal.jsonl").read_bytes() == lines


@pytest.mark.parametrize("change", ["model", "recipe", "seed", "output removed", "no resume"])
def test_what_changed_is_done_again(
    change: str, models: Path, recipe: Recipe, recipe_file: Path, out: Path
) -> None:
    batch = batch_of(models, recipe, out)
    done(batch, out, Here())
    redone = 4
    if change == "model":
        save_net(models / "a.onnx", 24)
        redone = 1
    elif change == "recipe":
        recipe_file.write_text(recipe_file.read_text(encoding="utf-8").replace("2}", "3}"), encoding="utf-8")
        batch = batch_of(models, load_recipe(str(recipe_file)), out)
    elif change == "seed":
        batch = replace(batch, seed=1)
    elif change == "output removed":
        (out / "b.onnx").unlink()
        redone = 1
    else:
        batch = replace(batch, resume=False)
    assert done(batch, out, Here()).unchanged == 4 - redone
    assert len((out / "journal.jsonl").read_text(encoding="utf-8").splitlines()) == 4 + redone
    assert (out / "b.onnx").is_file()


def test_weights_beside_the_model_belong_to_it(
    models: Path, recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_net(models / "a.onnx", 1024)
    monkeypatch.setattr(save, "INLINE_LIMIT_BYTES", 4096)
    batch = batch_of(models, recipe, out)
    done(batch, out, Here())
    data = out / "a.onnx.data"
    written = {one.model: one.output for one in read_journal(out)}
    assert written["a.onnx"] is not None
    assert written["a.onnx"].data_sha256 == sha256(data)
    assert written["a.onnx"].size_bytes == (out / "a.onnx").stat().st_size + data.stat().st_size
    assert written["b.onnx"] is not None
    assert written["b.onnx"].data_sha256 is None
    data.unlink()
    assert done(batch, out, Here()).unchanged == 3
    assert data.is_file()


def test_data_counts_by_what_it_holds(models: Path, recipe_file: Path, out: Path, tmp_path: Path) -> None:
    def recipe() -> Recipe:
        return load_recipe(str(recipe_file), ["calibration.data=data.npz"])

    def save(seed: int, path: Path = tmp_path / "data.npz") -> None:
        np.savez(path, x=np.random.default_rng(seed).normal(size=(2, 16)).astype(np.float32))

    (models / "broken.onnx").unlink()
    (models / "b.onnx").unlink()
    (models / "deep" / "c.onnx").unlink()
    save(0)
    assert done(batch_of(models, recipe(), out), out, Here()).statuses == {Status.OK: 1}
    (tmp_path / "data.npz").touch()
    assert done(batch_of(models, recipe(), out), out, Here()).unchanged == 1
    save(1)
    assert done(batch_of(models, recipe(), out), out, Here()).unchanged == 0


def test_files_of_others_are_not_replaced(models: Path, recipe: Recipe, out: Path) -> None:
    out.mkdir()
    (out / "a.onnx").write_bytes(b"precious")
    batch = batch_of(models, recipe, out)
    tally = done(batch, out, Here())
    assert tally.kinds == {Kind.INPUT: 1, Kind.OUTPUT: 1}
    assert (out / "a.onnx").read_bytes() == b"precious"
    assert done(batch, out, Here()).unchanged == 4
    assert done(replace(batch, overwrite=True), out, Here()).kinds == {Kind.INPUT: 1}
    assert (out / "a.onnx").read_bytes() != b"precious"


def test_what_a_killed_run_left_is_replaced(models: Path, recipe: Recipe, out: Path) -> None:
    batch = batch_of(models, recipe, out)
    with opened(batch, out) as run:
        run.folder.mark("a.onnx")
    (out / "a.onnx").write_bytes(b"half")
    (out / ".a.onnx.xyz.part").write_bytes(b"quarter")
    assert done(batch, out, Here()).kinds == {Kind.INPUT: 1}
    assert (out / "a.onnx").read_bytes() != b"half"
    assert list(out.glob(".*.part")) == []


def test_a_stop_loses_only_what_was_in_flight(models: Path, recipe: Recipe, out: Path) -> None:
    batch = batch_of(models, recipe, out)
    with opened(batch, out) as run:
        results = run.results(Here())
        next(results)
        results.close()
        assert run.tally().pending == 3
    workers = Here()
    tally = done(batch, out, workers)
    assert (tally.pending, tally.unchanged) == (0, 1)


@pytest.mark.parametrize("room", [True, False])
def test_a_full_disk_ends_the_batch(
    models: Path, recipe: Recipe, out: Path, room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not the disk of temporary files, which one large model may fill."""
    monkeypatch.setattr(OutputFolder, "has_room", lambda folder: room)
    workers = Here(
        lambda task: failed(Kind.FULL, "no space") if task.name == "b.onnx" else Outcome(Status.OK)
    )
    batch = batch_of(models, recipe, out)
    if room:
        assert done(batch, out, workers).kinds == {Kind.FULL: 1}
        assert done(batch, out, Here()).kinds == {Kind.INPUT: 1}
        return
    with pytest.raises(OutputError, match=r"b\.onnx: no space"):
        done(batch, out, workers)
    assert "b.onnx" not in [one.model for one in read_journal(out)]


def test_a_model_left_out_is_recorded_once(models: Path, recipe: Recipe, out: Path) -> None:
    batch = batch_of(models, recipe, out)
    items = [replace(item, order=Order(None, skip="too old")) for item in batch.items]
    workers = Here()
    for unchanged in (0, 4):
        tally = done(replace(batch, items=items), out, workers)
        assert (tally.statuses, tally.unchanged) == ({Status.SKIPPED: 4}, unchanged)
    assert workers.names == []
    assert {one.reason for one in read_journal(out)} == {"too old"}


def test_a_failure_keeps_what_was_there(models: Path, recipe: Recipe, out: Path) -> None:
    batch = batch_of(models, recipe, out)
    done(batch, out, Here())
    good = (out / "a.onnx").read_bytes()
    broken = Here(lambda task: failed(Kind.PASS, "no", key="new"))
    assert done(replace(batch, seed=1), out, broken).statuses == {Status.FAILED: 4}
    assert (out / "a.onnx").read_bytes() == good
    assert done(replace(batch, seed=2), out, Here()).kinds == {Kind.INPUT: 1}


def test_failures_are_tried_again_when_asked(models: Path, recipe: Recipe, out: Path) -> None:
    batch = batch_of(models, recipe, out, retry_failed=True)
    for unchanged in (0, 3):
        assert done(batch, out, Here()).unchanged == unchanged


def test_more_time_means_another_try(models: Path, recipe: Recipe, out: Path) -> None:
    def slow(task: Task) -> Outcome:
        if task.recorded == task.name:
            return Outcome(Status.UNCHANGED, key=task.name)
        return failed(Kind.TIMEOUT, "slow", key=task.name)

    batch = batch_of(models, recipe, out, limits=Limits(1.0))
    unchanged = []
    for timeout_s in (1.0, 1.0, 2.0):
        unchanged.append(done(replace(batch, limits=Limits(timeout_s)), out, Here(slow)).unchanged)
    assert unchanged == [0, 4, 0]


def test_gates_that_are_not_met_are_counted(models: Path, recipe_file: Path, out: Path) -> None:
    recipe = load_recipe(str(recipe_file), (), {"--gate": ["size_ratio<=0.01"]})
    tally = done(batch_of(models, recipe, out), out, Here())
    assert (tally.statuses[Status.OK], tally.gates_not_met) == (3, 3)


def test_threads_that_latency_is_measured_with(recipe_file: Path) -> None:
    def of(*overrides: str) -> int:
        return measured_threads([Item("a", "a", Order(load_recipe(str(recipe_file), overrides)))])

    assert of() == 0
    assert of("benchmark.profiles=[local]", "benchmark.threads=3") == 3
    assert of("benchmark.profiles=[stm32h7]") == 0
    assert measured_threads([Item("a", "a", Order(None, skip="no"))]) == 0
