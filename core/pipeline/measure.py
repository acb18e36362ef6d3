"""Before and after: cost, fidelity, accuracy and latency of two models, and what the gates say to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.pipeline.gates import GateResult, check
from onnx_pare.pipeline.metrics import metric_values
from onnx_pare.progress import Progress

if TYPE_CHECKING:
    from onnx_pare.bench.accuracy import AccuracyPair
    from onnx_pare.bench.fidelity import Fidelity
    from onnx_pare.pipeline.chain import Chain
    from onnx_pare.pipeline.plan import Plan

Costs = Mapping[str, Any]
Latencies = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Measured:
    """What was measured; the fields are those of `Report`."""

    before: Costs
    after: Costs
    fidelity: Fidelity
    accuracy: AccuracyPair | None
    latency: Latencies
    gates: Sequence[GateResult]


def measure(ready: Plan, original: Path, chain: Chain, progress: Progress) -> Measured:
    """Measure the result of the passes against the original, and predict its latency on other hardware.

    Latency comes last and runs alone, with the recipe's number of threads; the rest uses all processors.

    Raises:
        InputError: The model does not run on the labelled data, or is no classifier; or a profile says
            nothing about its speed.
    """
    from onnx_pare.bench.accuracy import accuracy_pair
    from onnx_pare.bench.fidelity import compare
    from onnx_pare.cost.count import file_summary
    from onnx_pare.hw_profiles.cpu import usable_cores

    threads = usable_cores()
    before = file_summary(ready.model, ready.job.model, ready.input_shapes)
    after = file_summary(chain.model, chain.path, ready.input_shapes)
    fidelity = compare(original, chain.runnable, ready.samples, threads=threads, progress=progress)
    accuracy = None
    if ready.labelled is not None:
        accuracy = accuracy_pair(original, chain.runnable, ready.labelled, threads=threads, progress=progress)
    latency = _latency(ready, original, chain, progress)
    found = {"before": before, "after": after, "fidelity": fidelity.to_json(), "latency": latency}
    values = metric_values({**found, "accuracy": None if accuracy is None else accuracy.to_json()})
    baseline = None if ready.baseline is None else ready.baseline.values
    gates = check(ready.job.recipe.conditions, values, baseline)
    return Measured(before, after, fidelity, accuracy, latency, gates)


def _latency(ready: Plan, original: Path, chain: Chain, progress: Progress) -> Latencies:
    from onnx_pare.bench.paired import measure_pair

    bench = ready.job.recipe.benchmark
    predicted = _predicted(ready, chain)
    entries = []
    for profile in ready.profiles:
        if profile.name in predicted:
            entries.append(predicted[profile.name])
            continue
        timed = measure_pair(
            original,
            chain.runnable,
            ready.feeds,
            threads=bench.threads,
            runs=bench.runs,
            seed=ready.job.seed,
            progress=progress,
        )
        entries.append(timed.to_json(profile.name))
    return entries


def _predicted(ready: Plan, chain: Chain) -> Mapping[str, Mapping[str, Any]]:
    """Return the entries of all profiles that are predicted, by name."""
    from onnx_pare.hw_profiles.speedup import forecast_pair
    from onnx_pare.hw_profiles.workload import Workload

    profiles = [profile for profile in ready.profiles if profile.device is not None]
    if not profiles:
        return {}
    bench = ready.job.recipe.benchmark
    before, after = (
        Workload.of(model, ready.input_shapes, batch=bench.batch) for model in (ready.model, chain.model)
    )
    return {
        profile.name: forecast_pair(before, after, profile, threads=bench.threads).to_json()
        for profile in profiles
    }
