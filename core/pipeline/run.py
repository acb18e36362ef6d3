"""The main job on one model: recipe and model in; passes, proof and measurements; report out."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import ModelError
from onnx_pare.pipeline.plan import Job, Plan, plan
from onnx_pare.processes import peak_bytes
from onnx_pare.progress import Progress, Silent

if TYPE_CHECKING:
    from onnx_pare.passes.base import Context, Pass
    from onnx_pare.pipeline.chain import Chain
    from onnx_pare.pipeline.measure import Measured
    from onnx_pare.pipeline.report import ModelFile, Report

logger = logging.getLogger(__name__)
# an error of a third of the signal: classifiers begin to lose whole points
FAR_DB = 10.0


def run(job: Job, progress: Progress | None = None) -> Report:
    """Do the job and write the result.

    Raises:
        InputError: Something given cannot be used; nothing was written.
        PassError: A pass or its verification failed; nothing was written.
    """
    from onnx_pare.bench.fidelity import Reference
    from onnx_pare.graph.signature import signature
    from onnx_pare.pipeline.chain import CHECK_SAMPLES, run_passes
    from onnx_pare.pipeline.machine import this_machine
    from onnx_pare.pipeline.measure import measure
    from onnx_pare.pipeline.report import Report

    start = time.perf_counter()
    progress = progress or Silent()
    ready = plan(job)
    with scratch_folder() as scratch:
        original, loaded = _runnable(ready, scratch)
        context = _context(ready, scratch, progress)
        passes = [step.build() for step in job.recipe.passes]
        checked = Reference(loaded, ready.samples, threads=context.threads, limit=CHECK_SAMPLES)
        chain = run_passes(ready.model, original, passes, context, checked)
        found = measure(ready, loaded, chain, progress)
        published = _publish(job, chain, scratch)
    given, machine = _model_file(job.model), this_machine()
    compared = None
    if ready.baseline is not None:
        compared = ready.baseline.compared(given.sha256, job.recipe.resolved(), machine)
    return Report(
        command=job.command,
        seed=job.seed,
        model=given,
        signature=signature(ready.model),
        opset=ready.model.graph.opset_imports.get(""),
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
        warnings=[*_warnings(ready, passes, chain, found), *(compared.warnings if compared else ())],
        output=published,
        machine=machine,
        seconds=time.perf_counter() - start,
        peak_rss_bytes=peak_rss_bytes(),
        baseline=compared,
    )


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
    return peak_bytes(resource.getrusage(resource.RUSAGE_SELF))


def _runnable(ready: Plan, scratch: Path) -> tuple[Path, Path]:
    """Return a file of the original, the user's or a normalized copy, and what onnxruntime runs of it.

    A newer onnx package writes newer IR versions than onnxruntime takes: the model gets the newest it does.

    Raises:
        ModelError: onnxruntime does not load it, or not run it on the first sample.
    """
    from onnx_pare.graph.runnable import open_session, runnable
    from onnx_pare.graph.save import write_model
    from onnx_pare.graph.session import SessionError, newest_ir_version

    path, model, done = ready.job.model, ready.model, "load"
    try:
        try:
            found, loaded = path, runnable(path, scratch)
            session = open_session(loaded)
        except SessionError:
            logger.info("%s: onnxruntime does not load it as it is; trying a normalized copy", path)
            found = scratch / "original.onnx"
            model.ir_version = min(model.ir_version, newest_ir_version() or model.ir_version)
            write_model(model, found)
            loaded = runnable(found, scratch)
            session = open_session(loaded)
        done = "run"
        session.run(ready.feeds)
    except SessionError as error:
        raise ModelError(f"{path}: onnxruntime does not {done} it: {error}") from error
    return found, loaded


def _context(ready: Plan, scratch: Path, progress: Progress) -> Context:
    from onnx_pare.hw_profiles.cpu import usable_cores
    from onnx_pare.passes.base import Context

    return Context(
        samples=ready.samples,
        scratch=scratch,
        seed=ready.job.seed,
        threads=usable_cores(),
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

    return ModelFile(str(path), sha256(path), size_bytes(path))


def _warnings(ready: Plan, passes: Sequence[Pass], chain: Chain, found: Measured) -> list[str]:
    """Return what the user should know, each sentence once, in the order of the run."""
    calibrated = any(one.reads_samples() for one in passes)
    said = list(ready.samples.warnings) if calibrated or not ready.samples.random else []
    if ready.samples.random and calibrated:
        said.append(
            "no calibration data: activations were measured on synthetic input; "
            "give real data (--calibration) before relying on it"
        )
    if ready.labelled is not None:
        said += ready.labelled.samples.warnings
    said += chain.warnings
    if found.fidelity.sqnr_db is not None and found.fidelity.sqnr_db < FAR_DB:
        said.append(
            f"the outputs are far from the original's ({found.fidelity.sqnr_db:.1f} dB): "
            "check the accuracy on labelled data (--eval), and skip or soften passes"
        )
    said += found.fidelity.notes
    said += [f"{entry['profile']}: {text}" for entry in found.latency for text in entry.get("warnings", ())]
    return list(dict.fromkeys(said))
