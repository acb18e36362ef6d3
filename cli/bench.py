"""`pare bench`: how fast models are on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnx_pare.cli.console import JsonOption

if TYPE_CHECKING:
    from rich.table import Table

    from onnx_pare.bench.latency import Latency
    from onnx_pare.hw_profiles.profiles import Profile


@dataclass(frozen=True)
class Result:
    """One model on one profile; `macs` are those of one run."""

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


def bench(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="ONNX files, folders or globs.")],
    profile: Annotated[
        list[str] | None,
        typer.Option("--profile", "-p", metavar="NAME", help="Hardware profile; repeatable."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads inside one operator.")] = 1,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Batch; by default the model's own, or 1 if it is free.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Timings at most; fewer once the result is sure.")] = 50,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUT=DIMS", help="Sizes of an input, as in input=1x3x224x224; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic input.")] = 0,
    json: JsonOption = "",
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress bars.")] = False,
) -> None:
    """Count MACs and measure the latency of models on this machine, on synthetic input."""
    from onnx_pare.bench.feeds import timing_feeds
    from onnx_pare.bench.latency import measure
    from onnx_pare.cli import console
    from onnx_pare.cli.models import check_json_target, find_models
    from onnx_pare.cost.count import count
    from onnx_pare.graph.load import load_model
    from onnx_pare.graph.shapes import infer, parse_shapes
    from onnx_pare.hw_profiles.profiles import LOCAL, resolve

    profiles, shapes = resolve(profile or [LOCAL.name]), parse_shapes(shape or [])
    paths = find_models(models)
    check_json_target(json, paths)
    prepared = []
    for path in paths:
        model = load_model(path)
        feeds = timing_feeds(path, model, batch=batch, shapes=shapes, seed=seed)
        macs = count(model, infer(model, {name: array.shape for name, array in feeds.items()})).macs
        prepared.append((path, feeds, macs))
    results = []
    with console.progress(not no_progress) as bars:
        for path, feeds, macs in prepared:
            latency = measure(path, feeds, threads=threads, runs=runs, seed=seed, progress=bars)
            results += [Result(path, macs, one, latency) for one in profiles]
    if json:
        rows = [result.to_json() for result in results]
        console.write_json({"schema": "onnx-pare/bench/1", "results": rows}, json)
    if json != "-":
        console.out().print(table(results))
        said = f"one run with {threads} thread{'s' if threads > 1 else ''}, in onnxruntime; 1 MAC = 2 FLOPs"
        console.out().print(said)


def table(results: Sequence[Result]) -> Table:
    """Return the table of results, models as rows."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("model", overflow="fold")
    shown.add_column("MACs", justify="right", no_wrap=True)
    for header in ("profile", ""):
        shown.add_column(header, no_wrap=True)
    for header in ("median", "95 % interval", "p90"):
        shown.add_column(header, justify="right", no_wrap=True)
    for result in results:
        shown.add_row(*_row(result))
    return shown


def _row(result: Result) -> tuple[str, ...]:
    from rich.markup import escape

    from onnx_pare.cli.units import count, duration

    latency = result.latency
    low, high = (duration(ms).removesuffix(" ms") for ms in latency.interval_ms)
    return (
        escape(result.model.name),
        count(result.macs),
        result.profile.name,
        result.profile.kind,
        duration(latency.median_ms),
        f"\\[{low}, {high}]",
        duration(latency.p90_ms),
    )
