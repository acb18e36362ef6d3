"""A task whose files lie elsewhere, done on local copies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.errors import OutputError, PareError
from onnx_pare.zoo.identity import digest
from onnx_pare.zoo.task import Kind, Outcome, Status, Task, failed

if TYPE_CHECKING:
    from onnx_pare.remote.cache import DataCache
    from onnx_pare.remote.stage import Stage


Listen = Callable[[Mapping[str, Any]], None]


def on_local_files(
    task: Task, run: Callable[[Task, Listen], Outcome], listen: Listen, cache: DataCache, scratch: Path
) -> Outcome:
    """Return what became of a task: fetched, run, put back, and all copies removed but those of shared data.

    What the network does is a failure of this model that may go away, so it is tried again by the next run.

    Args:
        task: The task; one with nothing elsewhere is run as it is.
        run: Runs a task on local files, and tells what happens.
        listen: Told the same, with URLs in place of copies.
        cache: Copies of data that the tasks of this process share.
        scratch: Where copies are kept.
    """
    from onnx_pare.remote.stage import staged

    if task.elsewhere is None:
        return run(task, listen)
    try:
        with staged(cache, scratch) as stage:
            local = _local(task, stage)
            outcome = run(local, lambda event: listen(stage.names.json(dict(event))))
            if outcome.status is Status.OK:
                stage.publish()
                _publish_report(local.report, task.elsewhere.report, stage)
            facts = {**outcome.facts, "alone": stage.fetched == 1}
            return replace(outcome, facts=facts, reason=stage.names.text(outcome.reason))
    except OutputError as error:
        return failed(Kind.FULL if error.full else Kind.OUTPUT, error.message)
    except PareError as error:
        return failed(Kind.READ, error.message)


def _local(task: Task, stage: Stage) -> Task:
    """Return the task on copies of what it reads, writing to where `stage` will put it from."""
    names = task.elsewhere
    assert names is not None, "all files of this task are local"
    digests = dict(task.digests)

    def data(url: str) -> Path:
        path = stage.data(url)
        digests[str(path)] = _digest(path)
        return path

    report = stage.private("report.json")
    job = replace(
        task.job,
        model=stage.model(names.model),
        recipe=task.job.recipe.on_local_data(data),
        output=stage.output(names.output, overwrite=True),
        also_writes=(report,),
    )
    return replace(task, job=job, report=report, digests=digests, elsewhere=None)


@lru_cache(maxsize=64)
def _digest(path: Path) -> str:
    """Return the content hash of a copy; the path of another version is another one."""
    return digest(path)


def _publish_report(written: Path, name: str, stage: Stage) -> None:
    """Put the report where it belongs, with the names that files were given."""
    from onnx_pare.documents.json_text import json_text
    from onnx_pare.graph.save import publish_text
    from onnx_pare.remote import store, urls

    text = json_text(stage.names.json(json.loads(written.read_text(encoding="utf-8"))))
    if urls.is_url(name):
        store.put_text(text, name)
    else:
        publish_text(text, Path(urls.local(name)))
