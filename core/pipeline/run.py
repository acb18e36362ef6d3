"""The main job on one model: recipe and model in; passes, proof and measurements; report out."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import ModelError, UsageError, about
from onnx_pare.progress import Progress, Silent

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.calibration.data import Samples
    from onnx_pare.calibration.labelled import Labelled
    from onnx_pare.graph.session import Feeds
    from onnx_pare.hw_profiles.profiles import Profile
    from onnx_pare.passes.base import Context
    from onnx_pare.pipeline.chain import Chain
    from onnx_pare.pipeline.measure import Measured
    from onnx_pare.pipeline.recipe import Recipe
    from onnx_pare.pipeline.report import ModelFile, Report

logger = logging.getLogger(__name__)


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
    """

    model: Path
    recipe: Recipe
    output: Path | None = None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    seed: int = 0
    overwrite: bool = False
    command: str = ""
    also_writes: Sequence[Path] = ()

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
        profiles: What latency is measured on.
        feeds: The input that latency is measured with: the benchmark's batch of samples.
        input_shapes: Shapes of `feeds`.
    """

    job: Job
    model: ir.Model
    samples: Samples
    labelled: Labelled | None
    profiles: Sequence[Profile]
    feeds: Feeds
    input_shapes: Mapping[str, tuple[int, ...]]


def plan(job: Job) -> Plan:
    """Open everything a job names, so that what is wrong is found before any work.

    Raises:
        InputError: The model, its data, a profile or the output path cannot be used.
    """
    from onnx_pare.graph.load import load_model
    from onnx_pare.hw_profiles.profiles import resolve
    from onnx_pare.pipeline.outputs import check_outputs

    recipe = job.recipe
    profiles = resolve(recipe.benchmark.profiles)
    model = load_model(job.model)
    check_outputs(job)
    with about(job.model):
        samples, labelled = _samples(job, model), _labelled(job, model)
        feeds = _benchmark_feeds(job, model, samples)
    shapes = {name: tuple(array.shape) for name, array in feeds.items()}
    return Plan(job, model, samples, labelled, profiles, feeds, shapes)


def run(job: Job, progress: Progress | None = None) -> Report:
    """Do the job and write the result.

    Raises:
        InputError: Something given cannot be used; nothing was written.
        PassError: A pass or its verification failed; nothing was written.
    """
    from onnx_pare.bench.fidelity import Reference
    from onnx_pare.graph.signature import signature
    from onnx_pare.pipeline.chain import CHECK_SAMPLES, run_passes
    from onnx_pare.pipeline.measure import measure
    from onnx_pare.pipeline.report import Report

    start = time.perf_counter()
    progress = progress or Silent()
    ready = plan(job)
    with scratch_folder() as scratch:
        original = _loadable(job.model, ready.model, scratch)
        context = _context(ready, scratch, progress)
        passes = [step.build() for step in job.recipe.passes]
        checked = Reference(original, ready.samples, threads=context.threads, limit=CHECK_SAMPLES)
        chain = run_passes(ready.model, original, passes, context, checked)
        found = measure(ready, original, chain, progress)
        published = _publish(job, chain, scratch)
    return Report(
        command=job.command,
        seed=job.seed,
        model=_model_file(job.model),
        signature=signature(ready.model),
        opset=dict(ready.model.graph.opset_imports),
        recipe=job.recipe.resolved(),
        recipe_origin=job.recipe.origin,
        calibration_source=ready.samples.source,
        calibration_samples=len(ready.samples),
        calibration_random=ready.samples.random,
        passes=chain.records,
        before=found.before,
        after=found.after,
        fidelity=found.fidelity,
        accuracy=found.accuracy,
        latency=found.latency,
        gates=found.gates,
        warnings=_warnings(ready, chain, found),
        output=published,
        seconds=time.perf_counter() - start,
        peak_rss_bytes=peak_rss_bytes(),
    )


def _samples(job: Job, model: ir.Model) -> Samples:
    from onnx_pare.calibration.data import open_samples
    from onnx_pare.calibration.synthetic import synthetic_samples

    recipe = job.recipe
    count = recipe.calibration.samples
    if recipe.calibration_path is None:
        return synthetic_samples(model, count=count, shapes=job.shapes, seed=job.seed)
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
    """Return a sample, repeated to the recipe's batch.

    Raises:
        UsageError: The model's batch is fixed to another number.
    """
    from onnx_pare.bench.feeds import repeated
    from onnx_pare.calibration.inputs import model_inputs

    sample, _ = next(samples.batches(1))
    inputs, batch = model_inputs(model, job.shapes), job.recipe.benchmark.batch
    if batch in (1, inputs.batch):
        return sample
    if inputs.batch is not None or all(spec.axis is None for spec in inputs.specs):
        fixed = "has no batch axis" if inputs.batch is None else f"has the fixed batch {inputs.batch}"
        raise UsageError(f"{job.model}: cannot run at batch {batch}: it {fixed}", hint="Leave out --batch.")
    return repeated(sample, inputs, batch)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a private folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="onnx-pare-") as folder:
        yield Path(folder)


def peak_rss_bytes() -> int:
    """Return the most memory this process held, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _loadable(path: Path, model: ir.Model, scratch: Path) -> Path:
    """Return a file of the original that onnxruntime loads: the user's, or a normalized copy of it."""
    from onnx_pare.graph.save import write_model
    from onnx_pare.graph.session import Session, SessionError

    try:
        Session(path)
    except SessionError:
        logger.info("%s: onnxruntime does not load it as it is; trying a normalized copy", path)
    else:
        return path
    copy = scratch / "original.onnx"
    write_model(model, copy)
    try:
        Session(copy)
    except SessionError as error:
        raise ModelError(f"{path}: onnxruntime does not load it: {error}") from error
    return copy


def _context(ready: Plan, scratch: Path, progress: Progress) -> Context:
    from onnx_pare.passes.base import Context

    return Context(
        samples=ready.samples,
        scratch=scratch,
        seed=ready.job.seed,
        threads=os.cpu_count() or 1,
        progress=progress,
    )


def _publish(job: Job, chain: Chain, scratch: Path) -> ModelFile:
    """Write the result; a model that no pass changed is copied as it is."""
    from onnx_pare.graph.load import size_bytes
    from onnx_pare.graph.save import publish, write_model

    source = chain.path
    if source == job.model and size_bytes(source) > source.stat().st_size:
        source = scratch / "unchanged.onnx"  # its weights lie in other files: gather them
        write_model(chain.model, source)
    publish(source, job.target, overwrite=job.overwrite)
    return _model_file(job.target)


def _model_file(path: Path) -> ModelFile:
    from onnx_pare.graph.load import sha256, size_bytes
    from onnx_pare.pipeline.report import ModelFile

    return ModelFile(path, sha256(path), size_bytes(path))


def _warnings(ready: Plan, chain: Chain, found: Measured) -> list[str]:
    """Return what the user should know, each sentence once, in the order of the run."""
    said = list(ready.samples.warnings)
    if ready.samples.random and any(step.build().reads_samples() for step in ready.job.recipe.passes):
        said.append(
            "no calibration data: activations were measured on synthetic input; "
            "give real data (--calibration) before relying on it"
        )
    if ready.labelled is not None:
        said += ready.labelled.samples.warnings
    said += chain.warnings
    said += found.fidelity.notes
    return list(dict.fromkeys(said))
