"""`optimize` over many models: what is asked for, the run, and what it comes to."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from onnx_pare.cli.reports import STDOUT

if TYPE_CHECKING:
    from onnx_pare.cli.board import Board
    from onnx_pare.cli.reports import Reports
    from onnx_pare.zoo.batch import Batch, Run, Workers
    from onnx_pare.zoo.items import Given, Item
    from onnx_pare.zoo.tally import Tally

EXIT_GATE_FAILED = 1
EXIT_SOME_FAILED = 4
STDIN = "-"


@dataclass(frozen=True)
class Wanted:
    """What the command line of `optimize` asks for; the names are those of its flags."""

    models: Sequence[str]
    output: str | None
    given: Given
    reports: Reports
    baseline: Path | None = None
    manifest: str = ""
    jobs: int | None = None
    cluster: str = ""
    resume: bool | None = None
    retry_failed: bool = False
    timeout_s: float | None = None
    memory: str | None = None
    seed: int = 0
    overwrite: bool = False
    dry_run: bool = False
    quiet: bool = False
    verbose: bool = False
    bars: bool = True

    @property
    def batch_flags(self) -> bool:
        """Whether a flag is given that only a batch has, or models come from stdin."""
        flags = (self.jobs, self.resume, self.timeout_s, self.memory)
        return (
            bool(self.manifest or self.cluster)
            or self.retry_failed
            or STDIN in self.models
            or any(flag is not None for flag in flags)
        )

    @property
    def silent(self) -> bool:
        """Whether nothing but data goes to stdout."""
        return self.quiet or self.reports.json == STDOUT


def run(wanted: Wanted) -> None:
    """Run a batch; exit with 4 if some models failed, else with 1 if some did not meet their gates.

    Raises:
        InputError: Something given cannot be used, or the output folder cannot be written any more.
    """
    from onnx_pare.cli import console

    output = _output(wanted)
    wanted.reports.check(output)
    items = _items(wanted, output)
    if wanted.dry_run:
        _dry_run(items, output, silent=wanted.silent)
        return
    summary = _run(wanted, items, output)
    if not wanted.silent:
        from onnx_pare.cli.board import show_tally

        show_tally(summary, output, console.out())
    if summary.kinds:
        raise typer.Exit(EXIT_SOME_FAILED)
    if summary.gates_not_met:
        raise typer.Exit(EXIT_GATE_FAILED)


def command_line() -> str:
    """Return the command line as the user could type it again, without what is secret in URLs."""
    from onnx_pare.remote.urls import shown

    return shlex.join([Path(sys.argv[0]).name, *map(shown, sys.argv[1:])])


def _output(wanted: Wanted) -> str:
    from onnx_pare.errors import OutputError, UsageError
    from onnx_pare.remote import urls

    if not wanted.output or wanted.output == STDIN:
        raise UsageError("a batch needs an output folder", hint="Add -o FOLDER; the input tree is mirrored.")
    if urls.is_url(wanted.output):
        return wanted.output
    path = Path(urls.local(wanted.output))
    if path.exists() and not path.is_dir():
        raise OutputError(
            f"{path}: is a file; the output of a batch is a folder", hint="Choose another name."
        )
    return str(path)


def _items(wanted: Wanted, output: str) -> Sequence[Item]:
    from onnx_pare.errors import UsageError
    from onnx_pare.zoo.items import find_items

    models = [model for argument in wanted.models for model in _listed(argument)]
    if not models and not wanted.manifest:
        raise UsageError("no model given", hint="For example: optimize models/ --config int8 -o out/")
    return find_items(models, output, wanted.given, wanted.manifest)


def _listed(argument: str) -> list[str]:
    """Return the argument, or what stdin lists, one path a line."""
    if argument != STDIN:
        return [argument]
    return [line for line in sys.stdin.read().splitlines() if line.strip()]


def _dry_run(items: Sequence[Item], output: str, *, silent: bool) -> None:
    from onnx_pare.cli import console
    from onnx_pare.remote import urls

    if silent:
        return
    for item in items:
        recipe = item.order.recipe
        what = (
            f"left out: {item.order.skip}"
            if recipe is None
            else f"{output.rstrip('/')}/{item.name}  ({recipe.origin})"
        )
        console.out().print(urls.shown(f"{item.model} → {what}"), markup=False)


def _run(wanted: Wanted, items: Sequence[Item], output: str) -> Tally:
    from onnx_pare.cli.batch_workers import open_workers
    from onnx_pare.cli.board import board
    from onnx_pare.documents.json_text import json_text
    from onnx_pare.graph.save import publish_text
    from onnx_pare.zoo.batch import Run
    from onnx_pare.zoo.folder import SUMMARY
    from onnx_pare.zoo.journal import Journal
    from onnx_pare.zoo.remote_folder import open_output

    batch = _batch(wanted, items)
    with open_output(output) as folder, Journal(folder.path) as journal:
        run = Run(batch, folder, journal)
        with board(len(items), bars=wanted.bars, lines=not wanted.quiet) as shown:
            with open_workers(wanted, batch, folder.scratch, shown) as workers:
                _work(run, workers, shown)
            summary = run.tally()
        publish_text(json_text(summary.to_json()), folder.path / SUMMARY)
        wanted.reports.write_batch(summary, run.records(), folder)
    return summary


def _work(run: Run, workers: Workers, shown: Board) -> None:
    from onnx_pare.cli import console

    done, total = 0, len(run.batch.items)
    try:
        for record in run.results(workers):
            done += 1
            shown.finished(record)
    except SystemExit:
        said = f"stopped: {done} of {total} models are recorded; run the same command again to go on"
        console.err().print(said, markup=False)
        raise


def _batch(wanted: Wanted, items: Sequence[Item]) -> Batch:
    from onnx_pare.cli.limits import limits
    from onnx_pare.zoo.batch import Batch

    found = limits(wanted.timeout_s, wanted.memory, wanted.jobs or 1)
    if wanted.cluster and wanted.memory is None:
        found = replace(found, memory_bytes=None)  # what a worker's machine has, the worker knows
    return Batch(
        items,
        found,
        seed=wanted.seed,
        overwrite=wanted.overwrite,
        resume=wanted.resume is not False,
        retry_failed=wanted.retry_failed,
        baseline=_baseline(wanted),
        command=command_line(),
        verbose=wanted.verbose,
    )


def _baseline(wanted: Wanted) -> Path | None:
    from onnx_pare.errors import UsageError

    if wanted.baseline is not None and not wanted.baseline.is_dir():
        raise UsageError(
            f"--baseline {wanted.baseline}: is no folder",
            hint="A batch is compared with the output folder of an earlier one.",
        )
    return wanted.baseline
