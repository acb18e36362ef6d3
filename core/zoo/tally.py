"""What came out of a batch, in numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from onnx_pare import __version__
from onnx_pare.zoo.journal import Record
from onnx_pare.zoo.task import Kind, Status

SCHEMA = "onnx-pare/summary/1"


class Mean:
    """The geometric mean of ratios, taken one at a time."""

    def __init__(self) -> None:
        self.count = 0
        self._logs = 0.0

    def add(self, ratio: float | None) -> None:
        """Take one in; None and what has no logarithm is left out."""
        if ratio is not None and 0 < ratio < math.inf:
            self.count += 1
            self._logs += math.log(ratio)

    @property
    def value(self) -> float | None:
        """The mean; None if there was nothing."""
        return math.exp(self._logs / self.count) if self.count else None


@dataclass
class Tally:
    """What became of the models of a batch.

    Attributes:
        models: How many there are.
        unchanged: How many were not done again, as nothing they depend on had changed; they count below too.
        statuses: How many ended how.
        kinds: How many failed why.
        failures: `(model, kind, reason)` of each that failed.
        gates_not_met: How many are done, but did not meet all gates.
        size_ratio: Mean of file size after over before.
        speedups: Mean of the speed-ups, by profile.
        work_s: Time of all workers together.
    """

    models: int = 0
    unchanged: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    kinds: Counter[Kind] = field(default_factory=Counter)
    failures: list[tuple[str, Kind, str]] = field(default_factory=list)
    gates_not_met: int = 0
    size_ratio: Mean = field(default_factory=Mean)
    speedups: dict[str, Mean] = field(default_factory=dict)
    work_s: float = 0.0

    @property
    def pending(self) -> int:
        """How many have not been done: the run was stopped."""
        return self.models - self.statuses.total()

    def add(self, record: Record) -> None:
        """Count one model."""
        self.statuses[record.status] += 1
        self.work_s += record.seconds
        if record.status is Status.FAILED and record.kind is not None:
            self.kinds[record.kind] += 1
            self.failures.append((record.model, record.kind, record.reason))
        if record.status is not Status.OK:
            return
        self.gates_not_met += not record.gates_passed
        self.size_ratio.add(record.size_ratio)
        for profile, speedup in record.speedup.items():
            self.speedups.setdefault(profile, Mean()).add(speedup)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return {
            "schema": SCHEMA,
            "tool": {"name": "onnx-pare", "version": __version__},
            "models": self.models,
            "ok": self.statuses[Status.OK],
            "failed": self.statuses[Status.FAILED],
            "skipped": self.statuses[Status.SKIPPED],
            "pending": self.pending,
            "unchanged": self.unchanged,
            "failed_by_kind": {kind.value: count for kind, count in sorted(self.kinds.items())},
            "gates_not_met": self.gates_not_met,
            "size_ratio_geomean": self.size_ratio.value,
            "speedup_geomean": {profile: mean.value for profile, mean in sorted(self.speedups.items())},
            "failures": [
                {"model": model, "kind": kind.value, "reason": reason}
                for model, kind, reason in self.failures
            ],
            "work_seconds": round(self.work_s, 3),
        }


def tally(records: Iterable[Record], models: int, unchanged: int = 0) -> Tally:
    """Count the records of `models` models."""
    counted = Tally(models, unchanged)
    for record in records:
        counted.add(record)
    return counted
