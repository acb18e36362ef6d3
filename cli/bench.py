"""`pare bench`: how fast models are, on this machine as measured and on others as predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnx_pare.cli.console import JsonOption

if TYPE_CHECKING:
    from onnx_pare.cli.bench_results import Result
    from onnx_pare.graph.session import Feeds
    from onnx_pare.hw_profiles.profiles import Profile
    from onnx_pare.hw_profiles.workload import Workload
    from onnx_pare.progress import Progress


class WhatIf(str, Enum):
    """Data types that MACs can be predicted in."""

    int8 = "int8"
    float16 = "float16"
    bfloat16 = "bfloat16"


@dataclass(frozen=True)
class _Prepared:
    path: Path
    feeds: Feeds | None
    work: Workload


def bench(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="ONNX files, folders, globs or URLs.")],
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            "-p",
            metavar="NAME",
            help="Hardware profile: local, NAME, NAME@RUNTIME or a YAML path; repeatable.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads inside one operator.")] = 1,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Batch; by default the model's own, or 1 if it is free.")
    ] = None,
    dtype: Annotated[
        WhatIf | None, typer.Option(help="What if MACs were computed in this? Predicted profiles only.")
    ] = None,
    compare_prediction: Annotated[
        bool,
        typer.Option(
            "--compare-prediction", help="Also predict local, from what `pare profiles calibrate` found."
        ),
    ] = False,
    ops: Annotated[
        bool,
        typer.Option("--ops", "-v", "--verbose", help="Show the most expensive operators of predictions."),
    ] = False,
    plot: Annotated[
        str, typer.Option(metavar="PATH", help="Draw FLOPs against run time: .svg, .png or .pdf.")
    ] = "",
    roofline: Annotated[
        str, typer.Option(metavar="PATH", help="Draw the operators of one model on one predicted profile.")
    ] = "",
    runs: Annotated[int, typer.Option(min=1, help="Timings at most; fewer once the result is sure.")] = 50,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUT=DIMS", help="Sizes of an input, as in input=1x3x224x224; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic input.")] = 0,
    json: JsonOption = "",
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress bars.")] = False,
) -> None:
    """Count MACs; measure latency on this machine, on synthetic input, and predict it on others."""
    from onnx_pare.cli import bench_figures, bench_results, console
    from onnx_pare.cli.models import check_json_target
    from onnx_pare.graph.shapes import parse_shapes
    from onnx_pare.remote.stage import staged
    from onnx_pare.zoo.models import find_models

    profiles, shapes = _profiles(profile or ["local"], compare_prediction, dtype), parse_shapes(shape or [])
    names = find_models(models)
    check_json_target(json, names)
    bench_figures.check(plot, roofline, names, profiles)
    measured = any(one.device is None for one in profiles)
    with staged() as stage:
        paths = [stage.model(name) for name in names]
        prepared = [_prepare(path, measured, batch, shapes, dtype, seed) for path in paths]
        with console.progress(not no_progress) as bars:
            found = [_result(one, on, threads, runs, seed, bars) for one in prepared for on in profiles]
    results = bench_results.compared(found)
    bench_figures.draw(plot, roofline, results)
    if json:
        rows = stage.names.json([result.to_json() for result in results])
        console.write_json({"schema": "onnx-pare/bench/1", "results": rows}, json)
    if json != "-":
        bench_results.show(results, threads=threads, ops=ops)


def _profiles(names: Sequence[str], compare_prediction: bool, dtype: WhatIf | None) -> list[Profile]:
    """Return what to measure and predict; with `compare_prediction`, `local` both measured and predicted.

    Raises:
        UsageError: A name is unknown, this machine was not calibrated, or nothing is left to predict.
    """
    from onnx_pare.errors import UsageError
    from onnx_pare.hw_profiles.profiles import LOCAL, calibrated, resolve

    profiles = resolve(names)
    if compare_prediction:
        profiles = [*(profiles if LOCAL in profiles else [LOCAL, *profiles])]
        profiles.insert(profiles.index(LOCAL) + 1, calibrated())
    if dtype is not None and all(one.device is None for one in profiles):
        raise UsageError(
            f"--dtype {dtype.value} only changes predictions, and local is measured",
            hint="Name a predicted profile (-p), or quantize the model and measure that.",
        )
    return profiles


def _result(one: _Prepared, on: Profile, threads: int, runs: int, seed: int, bars: Progress) -> Result:
    """Return what a model takes on one profile, measured or predicted."""
    from onnx_pare.bench.latency import measure
    from onnx_pare.cli.bench_results import Measured, Predicted
    from onnx_pare.hw_profiles.workload import forecast

    if on.device is not None or one.feeds is None:
        return Predicted(one.path, one.work.macs, on, forecast(one.work, on, threads=threads))
    timed = measure(one.path, one.feeds, threads=threads, runs=runs, seed=seed, progress=bars)
    return Measured(one.path, one.work.macs, on, timed)


def _prepare(
    path: Path,
    measured: bool,
    batch: int | None,
    shapes: dict[str, tuple[int, ...]],
    dtype: WhatIf | None,
    seed: int,
) -> _Prepared:
    from onnx_pare.bench.feeds import timing_feeds, timing_shapes
    from onnx_pare.graph.load import load_model
    from onnx_pare.hw_profiles.workload import Workload

    model = load_model(path)
    feeds = timing_feeds(path, model, batch=batch, shapes=shapes, seed=seed) if measured else None
    sizes, rows, times = timing_shapes(path, model, batch=batch, shapes=shapes)
    if feeds is not None:
        sizes = {name: array.shape for name, array in feeds.items()}
    what_if = None if dtype is None else dtype.value
    return _Prepared(path, feeds, Workload.of(model, sizes, batch=rows * times, times=times, dtype=what_if))
