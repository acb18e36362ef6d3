"""`pare compare`: two versions of one model side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from onnx_pare.cli.console import JsonOption

if TYPE_CHECKING:
    from rich.table import Table

    from onnx_pare.bench.versus import Versus
    from onnx_pare.calibration.preprocess import Preprocessing
    from onnx_pare.cli.changes import Row

HEADERS: tuple[tuple[str, Literal["left", "right"]], ...] = (
    ("", "left"),
    ("A", "right"),
    ("B", "right"),
    ("B against A", "left"),
)


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The model to compare with: a path or URL.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The model made from it.")],
    data: Annotated[
        str | None, typer.Option(metavar="PATH", help="Samples to run both on; otherwise synthetic ones.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="PATH", help="Labelled samples, to measure accuracy on.")
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="NAME", help="How images become inputs: a preset's name.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Samples at most; by default 128, or 32 synthetic ones.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads inside one operator.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Timings at most; fewer once the result is sure.")] = 50,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUT=DIMS", help="Sizes of an input, as in input=1x3x224x224; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of synthetic samples, and of a choice among many.")] = 0,
    json: JsonOption = "",
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress bars.")] = False,
) -> None:
    """Compare two models: size, cost, speed, outputs and accuracy."""
    from onnx_pare.bench.versus import Inputs, versus
    from onnx_pare.cli import console
    from onnx_pare.cli.models import check_json_target
    from onnx_pare.graph.shapes import parse_shapes
    from onnx_pare.remote.stage import staged

    preset, shapes = _preset(preprocess), parse_shapes(shape or [])
    check_json_target(json, [a, b])
    with staged() as stage, console.progress(not no_progress) as bars:
        samples_at, labels_at = (stage.data(name) if name else None for name in (data, labels))
        inputs = Inputs(samples_at, labels_at, preset, samples, shapes, seed)
        result = versus(stage.model(a), stage.model(b), inputs, threads=threads, runs=runs, progress=bars)
    for warning in result.warnings:
        console.err().print(f"warning: {stage.names.text(warning)}", markup=False)
    if json:
        console.write_json(stage.names.json(result.to_json()), json)
    if json != "-":
        for letter, path in zip("AB", result.paths, strict=True):
            console.out().print(f"{letter}  {stage.names.text(str(path))}", markup=False, soft_wrap=True)
        console.out().print()
        console.out().print(table(result))
        console.out().print()
        for line in remarks(result):
            console.out().print(stage.names.text(line), markup=False, soft_wrap=True)


def table(result: Versus) -> Table:
    """Return both models side by side, readable in 80 columns."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for header, justify in HEADERS:
        shown.add_column(header, justify=justify)
    for row in _rows(result):
        shown.add_row(*row)
    return shown


def _rows(result: Versus) -> Iterator[Row]:
    from onnx_pare.cli import units
    from onnx_pare.cli.changes import amount, speed

    costs, latency = result.costs, result.latency
    yield amount("size", "size_bytes", *costs, units.size, ("smaller", "larger"))
    before_ms, after_ms = latency.before.median_ms, latency.after.median_ms
    yield (
        "latency",
        units.duration(before_ms),
        units.duration(after_ms),
        speed(latency.speedup, *latency.interval),
    )
    if result.accuracy is not None:
        before, after = result.accuracy.before, result.accuracy.after
        change = "same" if before == after else f"{100 * (after - before):+.2f} points"
        yield "top-1", units.percent(before), units.percent(after), change
    yield "outputs", "", units.decibels(result.fidelity.sqnr_db), _agreement(result)
    yield amount("parameters", "params", *costs, units.count)
    if any(cost["nonzero_params"] != cost["params"] for cost in costs):
        yield amount("nonzero", "nonzero_params", *costs, units.count)
    yield amount("MACs", "macs", *costs, units.count)
    yield amount("activations", "peak_activation_bytes", *costs, units.size, ("smaller", "larger"))


def _agreement(result: Versus) -> str:
    from onnx_pare.cli.units import percent

    agreement = result.fidelity.top1_agreement
    return "" if agreement is None else f"{percent(agreement)} same top-1"


def remarks(result: Versus) -> Iterator[str]:
    """Yield what the table's numbers stand on, and what they leave out."""
    fidelity, threads = result.fidelity, result.latency.threads
    yield f"latency  measured here in onnxruntime, {_threads(threads)}, [95 % interval]"
    yield f"outputs  SQNR of the worst output on {fidelity.samples:,} samples: {result.source}"
    if fidelity.cosine is not None:
        yield f"         cosine {fidelity.cosine:.6f}, largest error {fidelity.max_abs_error:.4g}"
    if fidelity.random_data:
        yield "         synthetic samples say little about real ones: give --data"
    if result.accuracy is not None:
        yield f"top-1    on {result.accuracy.samples:,} labelled samples"
    yield from (f"note     {note}" for note in fidelity.notes)
    for path, cost in zip(result.paths, result.costs, strict=True):
        if cost["uncounted_ops"]:
            yield f"MACs     of {path.name} leave out {', '.join(cost['uncounted_ops'])}"


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _preset(name: str | None) -> Preprocessing | None:
    from onnx_pare.calibration.preprocess import PRESETS
    from onnx_pare.documents.suggest import suggest
    from onnx_pare.errors import UsageError

    if name is None:
        return None
    if name not in PRESETS:
        raise UsageError(f"--preprocess: no preset '{name}'{suggest(name, PRESETS)}")
    return PRESETS[name]
