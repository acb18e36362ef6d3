"""`pare demo`: the main job on the model and data that come with onnx-pare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SHIPPED = ("digits.onnx", "digits_calibration.npz", "digits_validation.npz", "int8.yaml")
MODEL, RECIPE, OUTPUT, REPORT = "digits.onnx", "int8.yaml", "digits.int8.onnx", "report.json"


def demo(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder for model, data, recipe and report."),
    ] = Path("pare-demo"),
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress bars.")] = False,
) -> None:
    """Quantize a small digit classifier to int8, offline, and show what that cost and gained.

    Copies the shipped model, data and recipe to FOLDER, and runs `optimize` there; a second run replaces the
    results of the first.
    """
    from onnx_pare.cli.optimize import run_job
    from onnx_pare.cli.reports import Reports
    from onnx_pare.pipeline.plan import Job
    from onnx_pare.pipeline.recipe import load_recipe
    from onnx_pare.remote.stage import staged

    unpack(output)
    command = (
        f"optimize {output / MODEL} --config {output / RECIPE} --report-json {output / REPORT} --overwrite"
    )
    typer.echo(f"$ {command}")
    recipe = load_recipe(str(output / RECIPE))
    job = Job(output / MODEL, recipe, output / OUTPUT, overwrite=True, command=command)
    with staged() as stage:
        reports = Reports(str(output / REPORT))
        run_job(job, reports, silent=False, bars=not no_progress, stage=stage)


def unpack(folder: Path) -> None:
    """Copy the shipped files to `folder`, which is new, empty, or that of an earlier demo.

    Raises:
        OutputError: The folder holds files of these names that are not the demo's, or cannot be written.
    """
    from importlib.resources import files

    from onnx_pare.errors import OutputError

    shipped = {name: files("onnx_pare.demo").joinpath(name).read_bytes() for name in SHIPPED}
    try:
        if not _holds(folder, shipped):
            _refuse_taken(folder)
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in shipped.items():
                (folder / name).write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written: {error.strerror or error}", hint="Choose another folder with -o."
        ) from error


def _holds(folder: Path, shipped: dict[str, bytes]) -> bool:
    paths = {folder / name: content for name, content in shipped.items()}
    return all(path.is_file() and path.read_bytes() == content for path, content in paths.items())


def _refuse_taken(folder: Path) -> None:
    from onnx_pare.errors import OutputError

    for name in (*SHIPPED, OUTPUT, REPORT):
        if (folder / name).exists():
            raise OutputError(
                f"{folder / name}: exists already and is not the demo's",
                hint="Choose another folder with -o.",
            )
