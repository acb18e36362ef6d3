"""The loop of a batch: hands models to workers, and journals what becomes of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from onnx_pare.errors import OutputError
from onnx_pare.remote import urls
from onnx_pare.zoo.asked import REPORT_SUFFIX, Tasks
from onnx_pare.zoo.folder import OutputFolder
from onnx_pare.zoo.items import Item, recipes
from onnx_pare.zoo.journal import Journal, Output, Record
from onnx_pare.zoo.tally import Tally, tally
from onnx_pare.zoo.task import Kind, Limits, Outcome, Status, Task, failed

# tasks that wait beside those at work, so that no worker waits for one
WAITING = 1


class Workers(Protocol):
    """What runs tasks, some at a time."""

    width: int

    def submit(self, task: Task) -> Future[Outcome]:
        """Queue a task; the outcome may come with an exception only where no task can be run any more."""
        ...

    def close(self) -> None:
        """Stop what runs, drop what waits."""
        ...


@dataclass(frozen=True)
class Batch:
    """What a batch is asked for.

    Attributes:
        items: What there is to do.
        limits: What each model may take.
        seed: Seed of every random choice.
        overwrite: Replace outputs that are not this batch's own.
        resume: Leave what is done and has not changed.
        retry_failed: Try again what failed, though it would fail again.
        baseline: The output folder of an earlier batch, whose reports gates compare with.
        command: The command line, for the reports.
        verbose: Whether workers pass on their whole log.
    """

    items: Sequence[Item]
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    overwrite: bool = False
    resume: bool = True
    retry_failed: bool = False
    baseline: Path | None = None
    command: str = ""
    verbose: bool = False


def measured_threads(items: Sequence[Item]) -> int:
    """Return the most threads that any model's latency is measured with; 0 where none is measured."""
    benchmarks = [recipe.benchmark for recipe in recipes(items)]
    return max((bench.threads for bench in benchmarks if "local" in bench.profiles), default=0)


@dataclass
class Run:
    """One run of a batch, in an output folder that it has to itself.

    Attributes:
        batch: What it is asked for.
        folder: Where results go.
        journal: What is done so far.
        unchanged: How many models were left as they were.
    """

    batch: Batch
    folder: OutputFolder
    journal: Journal
    unchanged: int = 0

    def __post_init__(self) -> None:
        self._tasks = Tasks(self.batch, self.folder)

    def results(self, workers: Workers) -> Iterator[Record]:
        """Do what there is to do, and yield each model's record, as they end.

        Raises:
            OutputError: The journal or the outputs cannot be written any more; what was recorded stays.
        """
        pending: dict[Future[Outcome], Item] = {}
        for item in self.batch.items:
            before = self.journal.find(item.name)
            if (outcome := self._at_once(item, before)) is not None:
                yield self._finish(item, outcome)
                continue
            task = self._tasks.task(item, self._lasting_key(before))
            self.folder.mark(item.name)
            pending[workers.submit(task)] = item
            while len(pending) >= workers.width + WAITING:
                yield from self._ended(pending)
        while pending:
            yield from self._ended(pending)

    def records(self) -> Iterator[Record]:
        """Yield what the journal says about the models of this batch, in their order."""
        found = (self.journal.find(item.name) for item in self.batch.items)
        yield from (record for record in found if record is not None)

    def tally(self) -> Tally:
        """Count the records."""
        return tally(self.records(), len(self.batch.items), self.unchanged)

    def _ended(self, pending: dict[Future[Outcome], Item]) -> Iterator[Record]:
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in [one for one in pending if one in done]:
            yield self._finish(pending.pop(future), future.result())

    def _finish(self, item: Item, outcome: Outcome) -> Record:
        """Record what became of a model."""
        before = self.journal.find(item.name)
        if outcome.status is Status.UNCHANGED and before is not None:
            self.unchanged += 1
            record = before
        elif outcome.kind is Kind.FULL and not self.folder.has_room():
            raise OutputError(
                f"{item.name}: {outcome.reason}",
                hint="What is recorded is intact: free some space and run the same command again.",
                full=True,
            )
        else:
            record = self._record(item, outcome)
            self.journal.append(record)
        self.folder.unmark(item.name)
        return record

    def _at_once(self, item: Item, before: Record | None) -> Outcome | None:
        """Return the outcome of a model that no worker needs to look at; `before` is its record so far."""
        if item.order.skip:
            outcome = Outcome(Status.SKIPPED, reason=item.order.skip, key=f"skipped: {item.order.skip}")
        elif not self._may_write(item, before):
            target = urls.shown(self.folder.target(item.name))
            outcome = failed(Kind.OUTPUT, f"{target}: exists already; add --overwrite to replace it")
        else:
            return Outcome(Status.UNCHANGED) if self._is_known(item, before) else None
        same = before is not None and (before.status, before.reason) == (outcome.status, outcome.reason)
        return Outcome(Status.UNCHANGED) if same else outcome

    def _may_write(self, item: Item, before: Record | None) -> bool:
        """Return whether the target is free, or this batch's own."""
        own = before is not None and before.output is not None
        return (
            self.batch.overwrite or own or self.folder.in_flight(item.name) or not self.folder.has(item.name)
        )

    def _is_known(self, item: Item, before: Record | None) -> bool:
        """Return whether the store says that a model has not changed: it need not be fetched."""
        if before is None or not before.origin or not self._lasting_key(before):
            return False
        return before.origin == self._tasks.origin(item)

    def _lasting_key(self, before: Record | None) -> str:
        """Return the key under which the journal has a model, if that still holds; else nothing."""
        if before is None or not self.batch.resume or not before.lasts(self.batch.limits):
            return ""
        if before.status is Status.FAILED and self.batch.retry_failed:
            return ""
        if before.output is not None and not all(map(self.folder.has, before.output.files())):
            return ""
        return before.key

    def _record(self, item: Item, outcome: Outcome) -> Record:
        facts = dict(outcome.facts)
        written, alone = facts.pop("output", None), facts.pop("alone", False)
        before = self.journal.find(item.name)
        left = before.output if before is not None else None
        return Record(
            model=item.name,
            status=outcome.status,
            kind=outcome.kind,
            reason=outcome.reason,
            key=outcome.key,
            origin=self._tasks.origin(item) if alone else "",
            report=f"{item.name}{REPORT_SUFFIX}" if outcome.status is Status.OK else None,
            output=left if written is None else Output(path=item.name, **written),
            limits=self.batch.limits,
            seconds=round(outcome.seconds, 3),
            peak_rss_bytes=outcome.peak_rss_bytes,
            worker=outcome.worker,
            finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **facts,
        )
