"""What a worker is asked to do with one model, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_pare.pipeline.plan import Job


class Status(str, Enum):
    """What became of a model."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNCHANGED = "unchanged"  # never journaled: the line from before still holds


class Kind(str, Enum):
    """Why a model failed."""

    INPUT = "input"
    PASS = "pass"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASH = "crash"
    KILLED = "killed"
    OUTPUT = "output"
    FULL = "disk full"
    READ = "read"
    INTERNAL = "internal"


# what would fail again: the same input, the same failure. The others may have been the machine's doing
LASTING = frozenset({Kind.INPUT, Kind.PASS, Kind.CRASH, Kind.INTERNAL})


@dataclass(frozen=True)
class Limits:
    """What one model may take.

    Attributes:
        timeout_s: Seconds, those not counted in which it waits for its turn to measure; None: any.
        memory_bytes: Memory of its process and all that it starts, file contents not counted; None: any.
    """

    timeout_s: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Elsewhere:
    """What a job reads and writes, by the names it was given: paths, and URLs among them."""

    model: str
    output: str
    report: str


@dataclass(frozen=True)
class Task:
    """One model to optimize.

    Attributes:
        name: The model's name in the batch: its path below the common folder, with `/`.
        job: The run; its paths only hold if there is nothing elsewhere.
        report: Where the JSON report goes.
        recorded: The key under which the journal has the model; a model of that key is left as it is.
        digests: Content hashes of the data and profiles the job names, by the path it names.
        limits: What it may take.
        verbose: Whether its log is wanted, not only its warnings.
        elsewhere: The names to fetch from and put to, if some are URLs.
    """

    name: str
    job: Job
    report: Path
    recorded: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    verbose: bool = False
    elsewhere: Elsewhere | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        status: What became of it.
        kind: Why it failed, if it did.
        reason: The same in one line.
        key: See `identity.key`; empty if the model could not be read.
        facts: What the journal says about a model that is done, see `facts`.
        seconds: Wall time in the worker.
        peak_rss_bytes: The most memory its process held.
        worker: Which worker did it: its host and number.
    """

    status: Status
    kind: Kind | None = None
    reason: str = ""
    key: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    worker: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        kind = self.kind and self.kind.value
        return {**vars(self), "status": self.status.value, "kind": kind, "facts": dict(self.facts)}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Outcome:
        """Return what `to_json` gave."""
        kind = Kind(said["kind"]) if said["kind"] else None
        return cls(**{**said, "status": Status(said["status"]), "kind": kind})


def failed(kind: Kind, reason: str, **more: Any) -> Outcome:
    """Return the outcome of a task that failed; the reason becomes one line."""
    return Outcome(Status.FAILED, kind, "; ".join(line.strip() for line in reason.splitlines()), **more)
