"""What a run will write, held against what it reads: nothing is lost, and nothing fails after the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import OutputError
from onnx_pare.graph.load import model_files
from onnx_pare.graph.save import check_writable, data_file, same_file

if TYPE_CHECKING:
    from onnx_pare.pipeline.plan import Job


def check_outputs(job: Job) -> None:
    """Find out before any work whether all that a job writes can be written, and replaces nothing it reads.

    Raises:
        OutputError: A path cannot be written, exists already, or is that of an input or another output.
    """
    taken = dict(_inputs(job))
    _check(job.target, taken)
    taken |= {"the output": job.target, "external data of the output": data_file(job.target)}
    for path in job.also_writes:
        _check(path, taken)
        taken[f"another output ({path})"] = path
    check_writable(job.target, overwrite=job.overwrite)


def _check(path: Path, taken: Mapping[str, Path]) -> None:
    check_writable(path, overwrite=True)
    for what, file in taken.items():
        if same_file(path, file):
            raise OutputError(f"{path}: is {what}", hint="Choose another name.")


def _inputs(job: Job) -> Iterator[tuple[str, Path]]:
    """Yield every file that the job reads, by what it is."""
    model, *weights = model_files(job.model)
    yield "the input model", model
    for file in weights:
        yield f"external data of the input model ({file.name})", file
    yield "the recipe", Path(job.recipe.origin)
    for what, path in (
        ("the calibration data", job.recipe.calibration_path),
        ("the labelled data", job.recipe.evaluation_path),
        ("the baseline", job.baseline),
    ):
        if path is not None:
            yield what, path
