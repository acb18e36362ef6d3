"""What a batch asks of a worker about one model, and how a model is known without asking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import DataError
from onnx_pare.graph.save import remove_leftovers
from onnx_pare.pipeline.plan import Job
from onnx_pare.remote import store, urls
from onnx_pare.remote.cache import version
from onnx_pare.zoo.identity import digest, named_files, origin
from onnx_pare.zoo.task import Elsewhere, Task

if TYPE_CHECKING:
    from onnx_pare.pipeline.recipe import Recipe
    from onnx_pare.zoo.batch import Batch
    from onnx_pare.zoo.folder import OutputFolder
    from onnx_pare.zoo.items import Item

REPORT_SUFFIX = ".report.json"
_UNREADABLE = "unreadable"


class Tasks:
    """Makes the tasks of a batch; looks at shared data once."""

    def __init__(self, batch: Batch, folder: OutputFolder) -> None:
        self._batch = batch
        self._folder = folder
        self._digests: dict[str, str] = {}

    def task(self, item: Item, recorded: str) -> Task:
        """Return what is asked about a model.

        Args:
            item: The model.
            recorded: The key under which the journal has it, if that still holds.
        """
        names = self._names(item)
        if self._folder.in_flight(item.name) and not urls.is_url(names.output):
            remove_leftovers(Path(names.output))
            remove_leftovers(Path(names.report))
        job = self._job(item, names)
        remote = job.recipe.remote_data or any(map(urls.is_url, vars(names).values()))
        return Task(
            item.name,
            job,
            Path(names.report),
            recorded,
            self._digests_of(job.recipe),
            self._batch.limits,
            self._batch.verbose,
            names if remote else None,
        )

    def origin(self, item: Item) -> str:
        """Return what identifies a model's result without fetching it; empty if that is not known."""
        job = self._job(item, self._names(item))
        digests = self._digests_of(job.recipe)
        if not item.version or _UNREADABLE in digests.values():
            return ""
        return origin(job, digests, item.version)

    def _names(self, item: Item) -> Elsewhere:
        target = self._folder.target(item.name)
        return Elsewhere(item.model, target, target + REPORT_SUFFIX)

    def _job(self, item: Item, names: Elsewhere) -> Job:
        recipe, baseline = item.order.recipe, self._batch.baseline
        assert recipe is not None, "a model that is left out is no task"
        return Job(
            model=Path(names.model),
            recipe=recipe,
            output=Path(names.output),
            shapes=item.order.shapes,
            seed=self._batch.seed,
            overwrite=True,
            command=self._batch.command,
            also_writes=(Path(names.report),),
            baseline=baseline and baseline / f"{item.name}{REPORT_SUFFIX}",
        )

    def _digests_of(self, recipe: Recipe) -> dict[str, str]:
        """Return hashes of a recipe's data and profiles, by path; of URLs what their stores say of them."""
        remote = recipe.remote_data
        return {str(path): self._digest(path, remote.get(path, "")) for path in named_files(recipe)}

    def _digest(self, path: Path, url: str) -> str:
        known = url or str(path)
        if known not in self._digests:
            try:
                self._digests[known] = version(url, store.find(url, DataError)) if url else digest(path)
            except (OSError, DataError):
                self._digests[known] = _UNREADABLE  # the run says what is wrong
        return self._digests[known]
