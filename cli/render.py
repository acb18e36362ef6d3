"""The summary after `optimize`: what got smaller, what got faster, what it cost, whether the gates hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from onnx_pare.cli import units
from onnx_pare.cli.changes import Row, amount, speed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rich.console import Console

    from onnx_pare.pipeline.plan import Plan
    from onnx_pare.pipeline.report import Report
    from onnx_pare.remote.names import Names

# share that quantization alone may round to zero; more was pruned or measured, and is worth a line
ROUNDED = 0.1


def summary(report: Report, console: Console, reports: Iterable[str]) -> None:
    """Print the summary of a run, and where its reports lie."""
    output = report.output
    target = escape(output.name) if output else "nothing written"
    origin = escape(report.recipe_origin)
    console.print(f"\n[bold]{escape(report.model.name)}[/] → [bold]{target}[/]  ({origin})\n")
    console.print(_table(report))
    console.print()
    for line in (*_passes(report), *_warnings(report.warnings), *_gates(report), *_baseline(report)):
        console.print(line)
    if output:
        console.print(f"written  {escape(output.path)}", soft_wrap=True)
    for name in reports:
        console.print(f"report   {escape(name)}", soft_wrap=True)


def _table(report: Report) -> Table:
    """Return before and after side by side, within 80 columns; numbers never wrap."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    for header in ("before", "after"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for row in _rows(report):
        table.add_row(*row)
    return table


def plan(ready: Plan, console: Console, names: Names) -> None:
    """Print what a run would do; `names` are those of local copies."""
    job = ready.job
    labelled = f"{len(ready.labelled.labels)} from {ready.labelled.source}" if ready.labelled else "none"
    shapes = ", ".join(f"{name} {'x'.join(map(str, dims))}" for name, dims in ready.input_shapes.items())
    facts = {
        "model": job.model,
        "recipe": job.recipe.origin,
        "passes": ", ".join(step.name for step in job.recipe.passes),
        "input": shapes,
        "calibration": f"{len(ready.samples)} from {ready.samples.source}",
        "labelled": labelled,
        "benchmark": ", ".join(f"{p.name} ({p.kind})" for p in ready.profiles) or "none",
        "gates": ", ".join(job.recipe.gates) or "none",
        **({"baseline": job.baseline} if job.baseline else {}),
        "would write": ", ".join(map(str, (job.target, *job.also_writes))),
    }
    for name, value in facts.items():
        console.print(f"{name:<12} {escape(names.text(str(value)))}", soft_wrap=True)
    warnings = [*ready.samples.warnings, *(ready.labelled.samples.warnings if ready.labelled else ())]
    for line in _warnings(map(names.text, warnings)):
        console.print(line)


def _rows(report: Report) -> Iterator[Row]:
    before, after = report.before, report.after
    yield amount("size", "size_bytes", before, after, units.size, ("smaller", "larger"))
    for entry in report.latency:
        how = f"{entry['kind']}, {entry['threads']} threads" if entry["threads"] > 1 else entry["kind"]
        sign = "≈ " if entry["kind"] == "predicted" else ""
        old, new = (f"{sign}{units.duration(entry[key])}" for key in ("before_ms", "after_ms"))
        change = speed(entry["speedup"], *entry["interval"])
        yield f"latency {escape(entry['profile'])}", old, new, f"{change} {how}"
    if report.accuracy is not None:
        drop = report.accuracy.before - report.accuracy.after
        change = (
            "same" if drop == 0 else f"[{'red' if drop > 0.01 else 'default'}]{-100 * drop:+.2f} points[/]"
        )
        shown = (units.percent(report.accuracy.before), units.percent(report.accuracy.after))
        yield "top-1", *shown, f"{change} ({report.accuracy.samples:,} labelled)"
    yield "outputs", "", units.decibels(report.fidelity.sqnr_db), _agreement(report)
    yield amount("MACs", "macs", before, after, units.count)
    if _changed("nonzero_params", "params", before, after):
        yield amount("nonzero weights", "nonzero_params", before, after, units.count)
    if _changed("effective_macs", "macs", before, after):
        yield amount("MACs on nonzeros", "effective_macs", before, after, units.count)
    yield amount("activations", "peak_activation_bytes", before, after, units.size, ("smaller", "larger"))


def _changed(part: str, whole: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether the part that is not zero changed by more than rounding to integers explains."""
    a, b = (cost[part] / cost[whole] if cost[whole] else 1.0 for cost in (before, after))
    return bool(abs(b - a) > ROUNDED)


def _agreement(report: Report) -> str:
    samples = report.fidelity.samples
    kind = "synthetic" if report.fidelity.random_data else "sample" if samples == 1 else "samples"
    where = f"({samples:,} {kind})"
    if report.fidelity.top1_agreement is None:
        return where
    return f"{units.percent(report.fidelity.top1_agreement)} same top-1 {where}"


def _passes(report: Report) -> Iterator[str]:
    for record in report.passes:
        done = f"{record.changed:,} changed" if record.changed else "nothing to do"
        quality = f", {units.decibels(record.sqnr_db)}" if record.changed else ""
        yield f"pass     {record.name}: {done}{quality}, {record.seconds:.1f} s"


def _warnings(warnings: Iterable[str]) -> Iterator[str]:
    for warning in dict.fromkeys(warnings):
        yield f"[yellow]warning[/]  {escape(warning)}"


def _gates(report: Report) -> Iterator[str]:
    for gate in report.gates:
        mark = "[green]met[/]     " if gate.passed else "[red]NOT MET[/] "
        value = gate.reason if gate.value is None else f"is {units.plain(gate.value)}"
        if gate.value is not None and gate.bound is not None and "baseline" in gate.expr:
            value += f", the bound {units.plain(gate.bound)}"
        yield f"gate     {mark} {escape(gate.expr)}  ({escape(value)})"


def _baseline(report: Report) -> Iterator[str]:
    if report.baseline is not None:
        differs = "; ".join(report.baseline.differences) or "same model, recipe, version and machine"
        yield f"baseline {escape(str(report.baseline.path))}  ({escape(differs)})"
