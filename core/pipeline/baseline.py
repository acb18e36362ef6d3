"""An earlier run that gates compare with: the numbers of its report, and how its conditions differed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare import __version__
from onnx_pare.documents.suggest import suggest
from onnx_pare.errors import ReportError, UsageError
from onnx_pare.pipeline.earlier import EarlierReport, read_report
from onnx_pare.pipeline.machine import Machine
from onnx_pare.pipeline.metrics import PER_PROFILE, Value, metric_values

if TYPE_CHECKING:
    from onnx_pare.pipeline.conditions import Gate

# keys of a recipe that say nothing about what was done or measured
_BESIDES = frozenset({"version", "gates", "origin"})
# keys that decide how long the same model takes
_TIMING = ("benchmark.threads", "benchmark.batch")


@dataclass(frozen=True)
class Compared:
    """What gates were compared with.

    Attributes:
        path: The report of the earlier run.
        tool_version: The version of onnx-pare that wrote it.
        model_sha256: The model it was about.
        differences: What else differs from this run than its numbers, in a few words each.
        warnings: What makes the comparison doubtful, in sentences.
    """

    path: Path
    tool_version: str
    model_sha256: str
    differences: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report's `baseline`."""
        return {
            "path": str(self.path),
            "tool_version": self.tool_version,
            "model_sha256": self.model_sha256,
            "differences": list(self.differences),
        }


@dataclass(frozen=True)
class Baseline:
    """The report of an earlier run, and whether gates compare latencies that were measured."""

    path: Path
    report: EarlierReport
    timed: bool = False

    @property
    def values(self) -> Mapping[str, Value]:
        """Its numbers, by metric."""
        return metric_values(self.report.model_dump())

    def compared(self, model_sha256: str, recipe: Mapping[str, Any], machine: Machine) -> Compared:
        """Return how this run differs from the earlier one in more than its numbers."""
        earlier, before, now = self.report, dict(_flat(self.report.recipe)), dict(_flat(recipe))
        keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        others = [key for key in keys if key not in _TIMING]
        timing = [f"{key} {before.get(key)}, here {now.get(key)}" for key in keys if key in _TIMING]
        timing += _machines(earlier.machine, machine)
        differences = [
            *(["another input model"] if earlier.model.sha256 != model_sha256 else []),
            *([f"recipe: {', '.join(others)}"] if others else []),
            *_differs("onnx-pare", earlier.tool.version, __version__),
            *timing,
        ]
        warning = f"latency is compared with {self.path}, measured otherwise: {'; '.join(timing)}"
        warnings = (warning,) if self.timed and timing else ()
        return Compared(self.path, earlier.tool.version, earlier.model.sha256, tuple(differences), warnings)


def open_baseline(path: Path | None, gates: Sequence[Gate], kinds: Mapping[str, str]) -> Baseline | None:
    """Open the report that gates compare with, and find out whether it has the numbers they name.

    Args:
        path: The report, if one was given.
        gates: All gates.
        kinds: `measured` or `predicted`, by the profiles of this run.

    Returns:
        None if no gate compares with a baseline.

    Raises:
        UsageError: A gate names the baseline and none is given, or the other way round.
        ReportError: It cannot be read, or has not what a gate compares with.
    """
    relative = [gate for gate in gates if gate.bound.relative]
    if path is None:
        if relative:
            raise UsageError(
                f"gate '{relative[0].expr}' compares with a baseline, and none is given",
                hint="Add --baseline REPORT: what --report-json wrote of an earlier run.",
            )
        return None
    if not relative:
        raise UsageError(
            f"--baseline {path}: no gate compares with it",
            hint="Add one, such as --gate 'size_bytes<=1.05*baseline', or leave it out.",
        )
    found = Baseline(path, read_report(path))
    values = found.values
    for gate in relative:
        _check(found, gate, values[gate.metric], kinds)
    timed = any(kinds.get(name) == "measured" for gate in relative for name in _profiles(gate, kinds))
    return Baseline(path, found.report, timed)


def _check(found: Baseline, gate: Gate, value: Value, kinds: Mapping[str, str]) -> None:
    """Hold a gate against the numbers there are."""
    if not isinstance(value, Mapping):
        if value is None:
            raise ReportError(f"{found.path}: has no {gate.metric}, which gate '{gate.expr}' compares with")
        return
    measured = {entry.profile: entry.kind for entry in found.report.latency}
    for name in _profiles(gate, kinds):
        if value.get(name) is None:
            known = suggest(name, measured)
            raise ReportError(
                f"{found.path}: has no {gate.metric} for profile '{name}', "
                f"which gate '{gate.expr}' compares with{known}"
            )
        if measured[name] != kinds.get(name, measured[name]):
            raise ReportError(
                f"{found.path}: latency of '{name}' was {measured[name]} there and is {kinds[name]} here: "
                f"gate '{gate.expr}' cannot compare them"
            )


def _profiles(gate: Gate, kinds: Mapping[str, str]) -> Sequence[str]:
    """Return the profiles that a gate is about."""
    if gate.metric not in PER_PROFILE:
        return ()
    return tuple(kinds) if gate.profile is None else (gate.profile,)


def _flat(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what a recipe says, by key and by key of a section; None is nothing said."""
    for key, part in recipe.items():
        inner = part.items() if isinstance(part, Mapping) else [("", part)]
        if key not in _BESIDES:
            yield from ((f"{key}.{name}".rstrip("."), value) for name, value in inner if value is not None)


def _machines(before: Machine | None, now: Machine) -> Iterator[str]:
    if before is None:
        yield "on a machine that is not known"
        return
    yield from _differs("CPU", before.cpu, now.cpu)
    yield from _differs("cores", before.cores, now.cores)
    yield from _differs("onnxruntime", before.onnxruntime, now.onnxruntime)


def _differs(what: str, before: object, now: object) -> Iterator[str]:
    if before != now:
        yield f"{what} {before}, here {now}"
