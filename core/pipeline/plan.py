"""What one run is asked for, opened and checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import UsageError, about

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.calibration.data import Samples
    from onnx_pare.calibration.labelled import Labelled
    from onnx_pare.graph.session import Feeds
    from onnx_pare.hw_profiles.profiles import Profile
    from onnx_pare.pipeline.baseline import Baseline
    from onnx_pare.pipeline.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """What one run is asked for.

    Attributes:
        model: The ONNX file.
        recipe: What to do with it.
        output: Where the result goes; None is `<stem>.<recipe>.onnx` beside the model.
        shapes: Sizes of free dimensions, by input name.
        seed: Seed of every random choice.
        overwrite: Replace an existing output.
        command: The command line, for the report.
        also_writes: Other files that will be written, such as the report; they may exist.
        baseline: The report of an earlier run that gates compare with.
    """

    model: Path
    recipe: Recipe
    output: Path | None = None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    seed: int = 0
    overwrite: bool = False
    command: str = ""
    also_writes: Sequence[Path] = ()
    baseline: Path | None = None

    @property
    def target(self) -> Path:
        """The path the result is written to."""
        return self.output or self.model.with_name(f"{self.model.stem}.{self.recipe.name}.onnx")


@dataclass(frozen=True)
class Plan:
    """A job with everything it names opened and checked; nothing has been changed or written.

    Attributes:
        job: The job.
        model: The model as loaded.
        samples: Calibration samples, synthetic ones if the recipe names no data.
        labelled: Labelled samples, if the recipe names any.
        profiles: What latency is measured on or predicted for.
        feeds: The input that latency is measured with: the benchmark's batch of samples.
        input_shapes: Shapes of `feeds`.
        baseline: What gates compare with, if any does.
    """

    job: Job
    model: ir.Model
    samples: Samples
    labelled: Labelled | None
    profiles: Sequence[Profile]
    feeds: Feeds
    input_shapes: Mapping[str, tuple[int, ...]]
    baseline: Baseline | None = None


def plan(job: Job) -> Plan:
    """Open everything a job names, so that what is wrong is found before any work.

    Raises:
        InputError: The model, its data, a profile, the baseline or the output path cannot be used, or the
            model makes tensors larger than the memory there is.
    """
    from onnx_pare.graph.limits import check_activations
    from onnx_pare.graph.load import load_model
    from onnx_pare.hw_profiles.profiles import resolve
    from onnx_pare.pipeline.baseline import open_baseline
    from onnx_pare.pipeline.outputs import check_outputs

    recipe = job.recipe
    profiles = resolve(recipe.benchmark.profiles, recipe.folder)
    kinds = {profile.name: profile.kind for profile in profiles}
    baseline = open_baseline(job.baseline, recipe.conditions, kinds)
    model = load_model(job.model)
    check_outputs(job)
    with about(job.model):
        samples, labelled = _samples(job, model), _labelled(job, model)
        feeds = _benchmark_feeds(job, model, samples)
    shapes = {name: tuple(array.shape) for name, array in feeds.items()}
    with about(job.model):
        check_activations(model, shapes)
    return Plan(job, model, samples, labelled, profiles, feeds, shapes, baseline)


def _samples(job: Job, model: ir.Model) -> Samples:
    from onnx_pare.calibration.data import open_samples
    from onnx_pare.calibration.synthetic import synthetic_samples

    recipe = job.recipe
    count = recipe.calibration.samples
    if recipe.calibration_path is None:
        return synthetic_samples(
            model, count=count, shapes=job.shapes, seed=job.seed, preprocess=recipe.preprocessing
        )
    return open_samples(
        recipe.calibration_path,
        model,
        preprocess=recipe.preprocessing,
        limit=count,
        shapes=job.shapes,
        seed=job.seed,
    )


def _labelled(job: Job, model: ir.Model) -> Labelled | None:
    from onnx_pare.calibration.labelled import open_labelled

    path, preprocess = job.recipe.evaluation_path, job.recipe.preprocessing
    if path is None:
        return None
    return open_labelled(path, model, preprocess=preprocess, shapes=job.shapes, seed=job.seed)


def _benchmark_feeds(job: Job, model: ir.Model, samples: Samples) -> Feeds:
    """Return a sample, repeated to the batch of the recipe or, if that is 1, of the shapes given.

    Raises:
        UsageError: The model's batch is fixed to another number, or recipe and shapes contradict each other.
    """
    from onnx_pare.bench.feeds import repeated
    from onnx_pare.calibration.inputs import model_inputs

    sample, _ = next(samples.batches(1))
    inputs, batch = model_inputs(model, job.shapes), job.recipe.benchmark.batch
    for spec in inputs.specs:
        if spec.axis is None or spec.name not in job.shapes:
            continue
        given = job.shapes[spec.name][spec.axis]
        if batch not in (1, given):
            raise UsageError(f"batch {batch}, but the shape given for '{spec.name}' has a batch of {given}")
        batch = given
    if batch in (1, inputs.batch):
        return sample
    if inputs.batch is not None or all(spec.axis is None for spec in inputs.specs):
        fixed = "has no batch axis" if inputs.batch is None else f"has the fixed batch {inputs.batch}"
        raise UsageError(f"{job.model}: cannot run at batch {batch}: it {fixed}", hint="Leave out --batch.")
    return repeated(sample, inputs, batch)
