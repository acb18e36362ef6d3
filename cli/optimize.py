"""`optimize`: the main job."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from onnx_pare.pipeline.plan import Job
    from onnx_pare.pipeline.recipe import Recipe
    from onnx_pare.remote.stage import Stage

EXIT_GATE_FAILED = 1


def optimize(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="The .onnx file to optimize, or its URL.", show_default=False),
    ] = None,
    config: Annotated[
        str,
        typer.Option(
            "--config", "-c", metavar="RECIPE", help="A YAML file, or the name of a shipped recipe."
        ),
    ] = "",
    output: Annotated[
        str | None,
        typer.Option(
            *("--output", "-o"),
            metavar="PATH",
            help="Output file, or a URL.  [default: <stem>.<recipe>.onnx beside the input]",
        ),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            "-p",
            metavar="NAME",
            help="Hardware profile: local, NAME, NAME@RUNTIME, YAML; repeatable.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads measured for.  [default: 1]", show_default=False)
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Batch size measured for.  [default: 1]", show_default=False)
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(metavar="PATH", help="Calibration data, instead of the recipe's.")
    ] = None,
    eval_: Annotated[
        str | None, typer.Option("--eval", metavar="PATH", help="Labelled data, instead of the recipe's.")
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="NAME", help="Preprocessing preset, instead of the recipe's.")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUT=1x3x224x224", help="Shape of an input with free dimensions; repeatable."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override one value of the recipe; repeatable."),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPR", help="Add a gate, such as 'speedup>=1.5'; repeatable."),
    ] = None,
    report_json: Annotated[
        str, typer.Option(metavar="PATH", help="Write the report as JSON; - is stdout.", show_default=False)
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Same input, recipe and seed: same bytes.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and print the plan; write nothing.")
    ] = False,
    print_recipe: Annotated[
        bool,
        typer.Option("--print-recipe", help="Print the recipe with all defaults and overrides, and exit."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens to stderr.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress bars.")] = False,
) -> None:
    """Run a recipe of passes over an ONNX model, prove what they did, and measure what they gain.

    Exit code 0: done, all gates met. 1: done and written, but a gate was not met. 2: wrong usage, recipe,
    model or data. 3: a pass failed. 130: interrupted.
    """
    from onnx_pare.cli import console
    from onnx_pare.errors import UsageError
    from onnx_pare.graph.shapes import parse_shapes
    from onnx_pare.pipeline.recipe import load_recipe
    from onnx_pare.remote.stage import staged

    if not config:
        raise UsageError(
            "no recipe given", hint="Add --config RECIPE; `pare recipes list` shows those shipped."
        )
    flags: dict[str, Any] = {
        "--preprocess": preprocess,
        "--calibration": calibration,
        "--eval": eval_,
        "--profile": profile,
        "--threads": threads,
        "--batch": batch,
        "--gate": gate,
    }
    recipe = load_recipe(config, set_ or [], flags)
    if print_recipe:
        console.write_text(recipe.to_yaml())
        return
    console.log_to_stderr(verbose=verbose, quiet=quiet)
    silent = quiet or report_json == "-"
    with staged() as stage:
        job = _job(
            models or [], recipe, output, parse_shapes(shape or []), seed, overwrite, report_json, stage
        )
        if dry_run:
            _dry_run(job, silent, stage)
            return
        run_job(job, report_json, silent=silent, bars=not (no_progress or quiet), stage=stage)


def run_job(job: Job, report_json: str, *, silent: bool, bars: bool, stage: Stage) -> None:
    """Run a job, print its summary, write its report, and exit with 1 if a gate was not met."""
    from onnx_pare.cli import console, render
    from onnx_pare.pipeline.run import run

    with console.progress(bars) as progress:
        report = run(job, progress)
        stage.publish()
    report = report.called(stage.names)
    if report_json:
        console.write_json(report.to_json(), report_json)
    if silent:
        for gate in report.gates:
            if not gate.passed:
                console.err().print(f"gate not met: {gate.expr} ({gate.reason})", markup=False)
    else:
        render.summary(report, console.out(), report_json)
    if not report.passed:
        raise typer.Exit(EXIT_GATE_FAILED)


def _job(
    models: list[str],
    recipe: Recipe,
    output: str | None,
    shapes: Any,
    seed: int,
    overwrite: bool,
    report_json: str,
    stage: Stage,
) -> Job:
    from onnx_pare.errors import UsageError
    from onnx_pare.pipeline.plan import Job
    from onnx_pare.remote import urls

    if not models:
        raise UsageError("no model given", hint="For example: optimize model.onnx --config int8")
    if len(models) > 1 or Path(models[0]).is_dir():
        given = f"{models[0]} is a folder" if len(models) == 1 else f"{len(models)} were given"
        raise UsageError(f"one model at a time, but {given}", hint="Run optimize once for each .onnx file.")
    if output == "-":
        raise UsageError("-o -: a model is not written to stdout", hint="Give the name of a file.")
    command = shlex.join([Path(sys.argv[0]).name, *map(urls.shown, sys.argv[1:])])
    model = stage.model(models[0])
    if output is None and urls.is_url(models[0]):
        output = urls.sibling(models[0], f"{model.stem}.{recipe.name}.onnx")
    target = None if output is None else stage.output(output, overwrite=overwrite)
    also = [stage.output(report_json, overwrite=True)] if report_json not in ("", "-") else []
    recipe = recipe.on_local_data(stage.data)
    return Job(model, recipe, target, shapes, seed, overwrite, command, also)


def _dry_run(job: Job, silent: bool, stage: Stage) -> None:
    from onnx_pare.cli import console, render
    from onnx_pare.pipeline.plan import plan

    ready = plan(job)
    if not silent:
        render.plan(ready, console.out(), stage.names)
