"""What a batch shows while it runs, and the table it ends with."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onnx_pare.cli import console
from onnx_pare.cli.changes import ratio
from onnx_pare.cli.units import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from onnx_pare.zoo.journal import Record
    from onnx_pare.zoo.tally import Tally

logger = logging.getLogger("onnx_pare")
# failures that the final table spells out, of each kind
EXAMPLES = 5
SIZES, SPEEDS = ("smaller", "larger"), ("slower", "faster")
# columns of the bar, the numbers and the time beside a text, and what a text has at least
BESIDE_TEXT, NARROWEST = 20 + 12 + 9, 16


class Board:
    """Lines on stderr: one per finished model, or on a terminal one per failed model above the bars."""

    def __init__(self, total: int, bars: Progress | None, lines: bool) -> None:
        self._total = total
        self._done = 0
        self._bars = bars
        self._lines = lines
        self._all: TaskID | None = None if bars is None else bars.add_task("all models", total=total)
        self._workers: dict[int, TaskID] = {}

    def note(self, text: str) -> None:
        """Say something about the run."""
        if self._lines:
            console.err().print(text, markup=False)

    def finished(self, record: Record) -> None:
        """Show what became of a model."""
        self._done += 1
        if self._bars is not None and self._all is not None:
            self._bars.advance(self._all)
        bad = record.kind is not None or not record.gates_passed
        if bad or (self._lines and self._bars is None):
            console.err().print(f"[{self._done}/{self._total}] {_line(record)}", markup=False)

    def hear(self, worker: int, model: str, event: Mapping[str, Any]) -> None:
        """Take an event of a worker; called from its thread."""
        if event["event"] == "log":
            logger.log(event["level"], "%s: %s", model, event["text"])
        elif self._bars is not None:
            self._show(self._bars, worker, model, event)

    def _show(self, bars: Progress, worker: int, model: str, event: Mapping[str, Any]) -> None:
        if worker not in self._workers:
            self._workers[worker] = bars.add_task("", total=None)
        room = max(NARROWEST, bars.console.width - BESIDE_TEXT)
        name = _short(model, room // 2)
        text = f"  {name}: {event['label'][: room - len(name) - 4]}" if "label" in event else f"  {name}"
        bars.update(
            self._workers[worker],
            description=text,
            completed=event.get("done", 0),
            total=event.get("total"),
            visible=event["event"] != "ended",
        )


@contextmanager
def board(total: int, *, bars: bool, lines: bool) -> Iterator[Board]:
    """Yield what shows a batch of `total` models: bars on a terminal, lines elsewhere."""
    if not (bars and console.err().is_terminal):
        yield Board(total, None, lines)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console.err(), transient=True) as shown:
        yield Board(total, shown, lines)


def show_tally(tally: Tally, output: str, to: Console) -> None:
    """Print what a batch came to."""
    from rich.markup import escape

    from onnx_pare.remote.urls import shown

    for label, text in _rows(tally):
        to.print(f"{label:<9}{escape(text)}")
    for kind in sorted(tally.kinds):
        examples = [(model, reason) for model, one, reason in tally.failures if one is kind]
        for model, reason in examples[:EXAMPLES]:
            to.print(f"  {kind.value}: {escape(model)}: {escape(reason)}", soft_wrap=True)
        if len(examples) > EXAMPLES:
            to.print(f"  {kind.value}: {len(examples) - EXAMPLES} more")
    to.print(f"{'written':<9}{escape(shown(output))}", soft_wrap=True)


def _rows(tally: Tally) -> Iterator[tuple[str, str]]:
    from onnx_pare.zoo.task import Status

    unchanged = f" ({tally.unchanged} unchanged since an earlier run)" if tally.unchanged else ""
    yield "models", f"{tally.models}{unchanged}"
    yield "ok", str(tally.statuses[Status.OK])
    if tally.statuses[Status.SKIPPED]:
        yield "skipped", str(tally.statuses[Status.SKIPPED])
    if tally.pending:
        yield "pending", str(tally.pending)
    if tally.kinds:
        kinds = ", ".join(f"{kind.value} {count}" for kind, count in tally.kinds.most_common())
        yield "failed", f"{tally.statuses[Status.FAILED]}  ({kinds})"
    if tally.gates_not_met:
        yield "gates", f"not met by {tally.gates_not_met}"
    if (size := tally.size_ratio.value) is not None:
        yield "size", f"{ratio(size, SIZES)} (geometric mean of {tally.size_ratio.count})"
    for profile, mean in sorted(tally.speedups.items()):
        if mean.value is not None:
            kind = "measured" if profile == "local" else "predicted"
            change = ratio(mean.value, SPEEDS)
            yield "speed", f"{change} on {profile}, {kind} (geometric mean of {mean.count})"


def _line(record: Record) -> str:
    if record.kind is not None:
        return f"failed  {record.model}: {record.kind.value}: {record.reason}"
    gains = [ratio(record.size_ratio, SIZES)] if record.size_ratio else []
    gains += [f"{ratio(gain, SPEEDS)} on {profile}" for profile, gain in record.speedup.items() if gain]
    seconds = duration(record.seconds * 1e3)
    gates = [] if record.gates_passed else ["gate not met"]
    return f"{record.status.value:<7} {record.model}  {', '.join([*gates, *gains, seconds])}"


def _short(model: str, width: int) -> str:
    return model if len(model) <= width else f"…{model[1 - width :]}"
