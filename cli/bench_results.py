"""What `pare bench` found: measured and predicted latencies as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from onnx_pare.bench.latency import Latency
    from onnx_pare.hw_profiles.profiles import Profile
    from onnx_pare.hw_profiles.workload import Forecast

Row = tuple[str, str, str, str, str, str, str]


@dataclass(frozen=True)
class Measured:
    """One model, timed on this machine; `macs` are those of one run."""

    model: Path
    macs: int
    profile: Profile
    latency: Latency

    def to_json(self) -> dict[str, Any]:
        """Return the entry of `results`."""
        return {
            "model": str(self.model),
            "profile": self.profile.name,
            "kind": self.profile.kind,
            "latency_ms": self.latency.median_ms,
            "interval": list(self.latency.interval_ms),
            "p90_ms": self.latency.p90_ms,
            "threads": self.latency.threads,
            "runs": self.latency.runs,
            "unseen_ops": [],
            "macs": self.macs,
        }

    def row(self) -> Row:
        """Return its line of the table."""
        from onnx_pare.cli.units import duration

        latency = self.latency
        shown = duration(latency.median_ms), _interval(latency.interval_ms), duration(latency.p90_ms)
        return (*_start(self), *shown)


@dataclass(frozen=True)
class Predicted:
    """One model on one profile, predicted; `measured_ms` where it was measured as well."""

    model: Path
    macs: int
    profile: Profile
    forecast: Forecast
    measured_ms: float | None = None

    @property
    def latency_ms(self) -> float:
        """The predicted latency."""
        return self.forecast.prediction.latency_ms

    @property
    def error_percent(self) -> float | None:
        """By how much more than measured was predicted; None if it was not measured."""
        return None if self.measured_ms is None else 100 * (self.latency_ms / self.measured_ms - 1)

    def to_json(self) -> dict[str, Any]:
        """Return the entry of `results`."""
        compared = {"measured_ms": self.measured_ms, "error_percent": self.error_percent}
        return {
            "model": str(self.model),
            "profile": self.profile.name,
            "kind": self.profile.kind,
            "latency_ms": self.latency_ms,
            "interval": list(self.forecast.prediction.interval_ms),
            **self.forecast.to_json(),
            "macs": self.macs,
            **(compared if self.measured_ms is not None else {}),
        }

    def row(self) -> Row:
        """Return its line of the table: numbers that nobody timed bear a sign."""
        from onnx_pare.cli.units import duration

        spread = _interval(self.forecast.prediction.interval_ms)
        return (*_start(self), f"≈ {duration(self.latency_ms)}", spread, "")


Result = Measured | Predicted


def compared(results: Sequence[Result]) -> list[Result]:
    """Tell predictions of this machine what was measured of the same model."""
    from onnx_pare.hw_profiles.profiles import LOCAL

    timed = {result.model: result.latency.median_ms for result in results if isinstance(result, Measured)}
    return [
        replace(result, measured_ms=timed.get(result.model))
        if isinstance(result, Predicted) and result.profile.name == LOCAL.name
        else result
        for result in results
    ]


def show(results: Sequence[Result], *, threads: int, ops: bool) -> None:
    """Print the table, what to know of predictions, and if asked for where their time goes."""
    from rich.markup import escape

    from onnx_pare.cli import console

    out = console.out()
    out.print(table(results))
    predicted = [result for result in results if isinstance(result, Predicted)]
    for line in (*_comparisons(predicted), *(_expensive(predicted) if ops else ()), *_warnings(predicted)):
        out.print(line, soft_wrap=True)
    for line in _legend(results, threads):
        out.print(escape(line))


def table(results: Sequence[Result]) -> Table:
    """Return the table of results, models as rows."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("model", overflow="fold")
    shown.add_column("MACs", justify="right", no_wrap=True)
    shown.add_column("profile", overflow="fold")
    shown.add_column("", no_wrap=True)
    for header in ("latency", "interval", "p90"):
        shown.add_column(header, justify="right", no_wrap=True)
    for result in results:
        shown.add_row(*result.row(), style="italic" if isinstance(result, Predicted) else "")
    return shown


def _start(result: Result) -> tuple[str, str, str, str]:
    from rich.markup import escape

    from onnx_pare.cli.units import count

    return escape(result.model.name), count(result.macs), escape(result.profile.name), result.profile.kind


def _interval(interval_ms: tuple[float, float]) -> str:
    from onnx_pare.cli.units import duration

    low, high = (duration(ms) for ms in interval_ms)
    same_unit = low.rpartition(" ")[2] == high.rpartition(" ")[2] == "ms"
    return f"\\[{low.removesuffix(' ms')}, {high.removesuffix(' ms')}]" if same_unit else f"\\[{low}, {high}]"


def _comparisons(predicted: Sequence[Predicted]) -> Iterator[str]:
    from rich.markup import escape

    from onnx_pare.cli.units import duration

    for result in predicted:
        if result.measured_ms is not None and result.error_percent is not None:
            shown = f"predicted {duration(result.latency_ms)}, measured {duration(result.measured_ms)}"
            yield f"compared {escape(result.model.name)} {shown}: {result.error_percent:+.1f} %"


def _expensive(predicted: Sequence[Predicted]) -> Iterator[str]:
    from rich.markup import escape

    from onnx_pare.cli.columns import Columns, table
    from onnx_pare.cli.units import duration
    from onnx_pare.hw_profiles.prediction import TOP

    columns = Columns(
        ("op", "type", "class", "time", "share", "bound by"), (False, False, False, True, True, False), 44
    )
    for result in predicted:
        found = result.forecast.prediction
        bounds = ", ".join(f"{share:.0%} {bound}" for bound, share in found.bounds.items())
        yield f"\n{escape(result.model.name)} on {escape(result.profile.name)}, predicted: bound by {bounds}"
        rows = [
            (op.name or "(no name)", op.op, op.op_class, duration(op.ms), f"{op.share:.1%}", op.bound)
            for op in found.ops[:TOP]
        ]
        yield from (f"  {escape(line)}" for line in table(columns, rows, 78))
    if predicted:
        yield ""


def _warnings(predicted: Sequence[Predicted]) -> Iterator[str]:
    """Yield each sentence once for all the results that it is true of."""
    from rich.markup import escape

    about: dict[str, dict[str, None]] = {}
    several = len({result.model for result in predicted}) > 1
    for result in predicted:
        for warning in result.forecast.warnings:
            personal = several and warning.startswith(("does not fit", "never seen"))
            where = f"{result.model.name} on {result.profile.name}" if personal else result.profile.name
            about.setdefault(warning, {})[where] = None
    for warning, places in about.items():
        yield f"[yellow]warning[/]  {escape(', '.join(places))}: {escape(warning)}"


def _legend(results: Sequence[Result], threads: int) -> Iterator[str]:
    said = f"one run with {threads} thread{'s' if threads > 1 else ''}"
    if any(isinstance(result, Predicted) for result in results):
        yield "measured: median and its 95 % interval; predicted (≈): the 80 % interval of a single device"
    else:
        said += ", in onnxruntime"
    yield f"{said}; 1 MAC = 2 FLOPs"
