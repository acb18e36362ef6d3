"""`optimize`: the main job."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnx_pare.cli.batch import EXIT_GATE_FAILED

if TYPE_CHECKING:
    from onnx_pare.cli.batch import Wanted
    from onnx_pare.cli.reports import Reports
    from onnx_pare.pipeline.plan import Job
    from onnx_pare.pipeline.recipe import Recipe
    from onnx_pare.remote.stage import Stage
    from onnx_pare.zoo.items import Given


def optimize(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="ONNX files, folders, globs, their URLs, or - for a list on stdin; many are a batch.",
            show_default=False,
        ),
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
            "--output",
            "-o",
            metavar="PATH",
            help="Output file; of a batch, a folder.  [default: <stem>.<recipe>.onnx beside the input]",
            show_default=False,
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
    report_junit: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Write passes and gates as a JUnit test suite.", show_default=False
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The JSON report of an earlier run, for gates such as 'latency_ms<=1.05*baseline'.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Batch: models at a time.  [default: 1]", show_default=False)
    ] = None,
    cluster: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Batch: run on a Dask cluster: tcp://SCHEDULER:8786, or local:N to start one.",
            show_default=False,
        ),
    ] = "",
    manifest: Annotated[
        str, typer.Option(metavar="PATH", help="Batch: YAML with data, shapes and recipe per model.")
    ] = "",
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--no-resume",
            help="Batch: leave what is done and unchanged.  [default: --resume]",
            show_default=False,
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Batch: try again what failed and has not changed.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Batch: for each model; 0: none.  [default: 3600]",
            show_default=False,
        ),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Batch: for each model, as in 4GB; 0: none.  [default: 90 % of the memory, shared by all]",
            show_default=False,
        ),
    ] = None,
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
    """Run a recipe of passes over ONNX models, prove what they did, and measure what they gain.

    Exit code 0: done, all gates met. 1: done and written, but a gate was not met. 2: wrong usage, recipe,
    model or data. 3: a pass failed. 4: of a batch, some models failed. 130: interrupted.
    """
    from onnx_pare.cli import batch as many
    from onnx_pare.cli import console
    from onnx_pare.cli.reports import Reports
    from onnx_pare.graph.shapes import parse_shapes
    from onnx_pare.zoo.items import Given
    from onnx_pare.zoo.models import is_batch

    flags: dict[str, Any] = {
        "--preprocess": preprocess,
        "--calibration": calibration,
        "--eval": eval_,
        "--profile": profile,
        "--threads": threads,
        "--batch": batch,
        "--gate": gate,
    }
    given = Given(config, set_ or [], flags, parse_shapes(shape or []))
    if print_recipe:
        console.write_text(_recipe(given).to_yaml())
        return
    console.log_to_stderr(verbose=verbose, quiet=quiet)
    wanted = many.Wanted(
        models or [],
        output,
        given,
        Reports(report_json, report_junit),
        baseline=baseline,
        manifest=manifest,
        jobs=jobs,
        cluster=cluster,
        resume=resume,
        retry_failed=retry_failed,
        timeout_s=timeout,
        memory=memory_limit,
        seed=seed,
        overwrite=overwrite,
        dry_run=dry_run,
        quiet=quiet,
        verbose=verbose,
        bars=not (no_progress or quiet),
    )
    reports = wanted.reports
    with nullcontext() if dry_run else reports.failures(wanted.models, wanted.output):
        if wanted.batch_flags or is_batch(wanted.models):
            many.run(wanted)
        else:
            _one(wanted)


def _one(wanted: Wanted) -> None:
    """Run one model, or say what the run would do."""
    from onnx_pare.remote.stage import staged

    with staged() as stage:
        job = _job(wanted, _recipe(wanted.given), stage)
        if wanted.dry_run:
            _dry_run(job, wanted.silent, stage)
        else:
            run_job(job, wanted.reports, silent=wanted.silent, bars=wanted.bars, stage=stage)


def run_job(job: Job, reports: Reports, *, silent: bool, bars: bool, stage: Stage) -> None:
    """Run a job, print its summary, write its reports, and exit with 1 if a gate was not met."""
    from onnx_pare.cli import console, render
    from onnx_pare.pipeline.run import run

    with console.progress(bars) as progress:
        report = run(job, progress)
        stage.publish()
    report = report.called(stage.names)
    reports.write(report)
    if silent:
        for gate in report.gates:
            if not gate.passed:
                console.err().print(f"gate not met: {gate.expr} ({gate.reason})", markup=False)
    else:
        render.summary(report, console.out(), reports.names)
    if not report.passed:
        raise typer.Exit(EXIT_GATE_FAILED)


def _recipe(given: Given) -> Recipe:
    from onnx_pare.errors import UsageError
    from onnx_pare.pipeline.recipe import load_recipe

    if not given.config:
        raise UsageError(
            "no recipe given", hint="Add --config RECIPE; `pare recipes list` shows those shipped."
        )
    return load_recipe(given.config, given.overrides, given.flags)


def _job(wanted: Wanted, recipe: Recipe, stage: Stage) -> Job:
    from onnx_pare.cli.batch import command_line
    from onnx_pare.errors import UsageError
    from onnx_pare.pipeline.plan import Job
    from onnx_pare.remote import urls

    if not wanted.models:
        raise UsageError("no model given", hint="For example: optimize model.onnx --config int8")
    if wanted.output == "-":
        raise UsageError("-o -: a model is not written to stdout", hint="Give the name of a file.")
    model, output = stage.model(wanted.models[0]), wanted.output
    if output is None and urls.is_url(wanted.models[0]):
        output = urls.sibling(wanted.models[0], f"{model.stem}.{recipe.name}.onnx")
    return Job(
        model=model,
        output=None if output is None else stage.output(output, overwrite=wanted.overwrite),
        recipe=recipe.on_local_data(stage.data),
        shapes=wanted.given.shapes,
        seed=wanted.seed,
        overwrite=wanted.overwrite,
        command=command_line(),
        also_writes=[stage.output(name, overwrite=True) for name in wanted.reports.names],
        baseline=wanted.baseline,
    )


def _dry_run(job: Job, silent: bool, stage: Stage) -> None:
    from onnx_pare.cli import console, render
    from onnx_pare.pipeline.plan import plan

    ready = plan(job)
    if not silent:
        render.plan(ready, console.out(), stage.names)
