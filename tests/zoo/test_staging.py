from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_pare.pipeline.recipe import load_recipe
from onnx_pare.remote import store
from onnx_pare.remote.cache import DataCache
from onnx_pare.zoo.staging import Listen, on_local_files
from onnx_pare.zoo.task import Elsewhere, Kind, Outcome, Status, Task
from onnx_pare.zoo.work import work

URLS = Elsewhere("memory://zoo/net.onnx", "memory://out/net.onnx", "memory://out/net.onnx.report.json")


@pytest.fixture
def remote(task: Task, memory: Any) -> Task:
    """Return the task with its model in a store, and its results going there."""
    memory.pipe("/zoo/net.onnx", task.job.model.read_bytes())
    nowhere = replace(task.job, model=Path("memory:/zoo/net.onnx"), output=Path("memory:/out/net.onnx"))
    return replace(task, job=nowhere, elsewhere=URLS)


def here(task: Task, listen: Listen) -> Outcome:
    return work(task, listen)


@pytest.fixture
def do(tmp_path: Path) -> Any:
    """Return what does a task in this process; afterwards only shared data may be left."""
    scratch = tmp_path / "copies"
    scratch.mkdir()
    cache = DataCache(scratch / "data")

    def done(task: Task, run: Any = here, listen: Listen = lambda event: None) -> Outcome:
        return on_local_files(task, run, listen, cache, scratch)

    yield done
    assert {path.name for path in scratch.iterdir()} <= {"data"}


def test_local_files_are_left_where_they_are(task: Task, do: Any) -> None:
    assert do(task, lambda one, listen: Outcome(Status.OK, reason=str(one is task))).reason == "True"


def test_from_store_to_store(remote: Task, task: Task, do: Any, memory: Any) -> None:
    outcome = do(remote)
    assert (outcome.status, outcome.reason) == (Status.OK, "")
    assert memory.find("/out") == ["/out/net.onnx", "/out/net.onnx.report.json"]
    report = json.loads(memory.cat("/out/net.onnx.report.json"))
    assert [report[key]["path"] for key in ("model", "output")] == [URLS.model, URLS.output]
    assert do(task).key == outcome.key
    assert memory.cat("/out/net.onnx") == task.job.target.read_bytes()


def test_what_is_recorded_is_not_put_again(remote: Task, do: Any, memory: Any) -> None:
    key = do(remote).key
    memory.rm("/out", recursive=True)
    assert do(replace(remote, recorded=key)).status is Status.UNCHANGED
    assert memory.find("/out") == []


def test_data_counts_by_what_it_holds(
    remote: Task, do: Any, memory: Any, tmp_path: Path, recipe_file: Path
) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((4, 16), np.float32))
    memory.pipe("/data/x.npz", (tmp_path / "x.npz").read_bytes())
    keys = []
    for data in ("memory://data/x.npz", str(tmp_path / "x.npz")):
        recipe = load_recipe(str(recipe_file), flags={"--calibration": data})
        task = replace(remote, job=replace(remote.job, recipe=recipe))
        digests = {} if data.startswith("memory") else {data: _digest(Path(data))}
        outcome = do(replace(task, digests=digests))
        report = json.loads(memory.cat("/out/net.onnx.report.json"))
        assert report["calibration"]["source"] == data
        keys.append(outcome.key)
    assert keys[0] == keys[1]


def _digest(path: Path) -> str:
    from onnx_pare.zoo.identity import digest

    return digest(path)


def test_reasons_name_urls(remote: Task, do: Any, memory: Any) -> None:
    memory.pipe("/zoo/net.onnx", b"no model")
    outcome = do(remote)
    assert outcome.kind is Kind.INPUT
    assert outcome.reason.startswith("memory://zoo/net.onnx: not an ONNX file")


@pytest.mark.parametrize(
    ("part", "kind"), [("fetch", Kind.READ), ("put", Kind.OUTPUT), ("put_text", Kind.OUTPUT)]
)
def test_what_the_network_does_may_go_away(
    remote: Task, do: Any, monkeypatch: pytest.MonkeyPatch, part: str, kind: Kind
) -> None:
    def fail(*arguments: Any) -> None:
        error = arguments[2] if part == "fetch" else store.OutputError
        raise error("memory://x: cannot be reached")

    monkeypatch.setattr(store, part, fail)
    outcome = do(remote)
    assert (outcome.status, outcome.kind) == (Status.FAILED, kind)
    assert outcome.reason == "memory://x: cannot be reached"


def test_what_is_told_names_urls(remote: Task, do: Any) -> None:
    def run(task: Task, listen: Listen) -> Outcome:
        listen({"event": "log", "text": f"{task.job.model}: odd"})
        return Outcome(Status.UNCHANGED)

    heard: list[Any] = []
    do(remote, run, heard.append)
    assert heard == [{"event": "log", "text": "memory://zoo/net.onnx: odd"}]


def test_a_model_that_is_not_there(remote: Task, do: Any, memory: Any) -> None:
    memory.rm("/zoo/net.onnx")
    outcome = do(remote)
    assert (outcome.kind, outcome.reason) == (Kind.READ, "memory://zoo/net.onnx: no such file or folder")
