"""The pictures of `pare bench`: FLOPs against run time of all results, and the roofline of one prediction."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_pare.bench.roofline import Roofs
    from onnx_pare.cli.bench_results import Result
    from onnx_pare.hw_profiles.profiles import Profile
    from onnx_pare.hw_profiles.workload import Forecast

GIGA = 1e9


def check(plot: str, roofline: str, models: Sequence[str], profiles: Sequence[Profile]) -> None:
    """Find out before the work whether the pictures can be drawn; empty names ask for none.

    Raises:
        UsageError: A suffix is unknown, matplotlib is missing, or not one prediction has a roofline.
        OutputError: A picture cannot be written.
    """
    from onnx_pare.bench.figures import check_figure
    from onnx_pare.errors import UsageError

    for name in filter(None, (plot, roofline)):
        check_figure(Path(name))
    predicted = [profile for profile in profiles if profile.device is not None]
    if roofline and (len(models), len(predicted)) != (1, 1):
        raise UsageError(
            f"--roofline shows one model on one predicted profile, not {len(models)} on {len(predicted)}",
            hint="local is predicted with --compare-prediction.",
        )


def draw(plot: str, roofline: str, results: Sequence[Result]) -> None:
    """Draw the pictures that were asked for.

    Raises:
        OutputError: A picture cannot be written.
    """
    if plot:
        _plot(Path(plot), results)
    if roofline:
        _roofline(Path(roofline), results)


def _plot(path: Path, results: Sequence[Result]) -> None:
    from onnx_pare.bench.figures import save_figure
    from onnx_pare.bench.flops_plot import ModelPoint, flops_against_latency
    from onnx_pare.cli.bench_results import Measured

    points = []
    for result in results:
        entry, measured = result.to_json(), isinstance(result, Measured)
        low, high = entry["interval"]
        points.append(
            ModelPoint(
                result.model.stem,
                result.profile.name,
                2.0 * result.macs,
                entry["latency_ms"],
                (low, high),
                measured,
            )
        )
    save_figure(flops_against_latency(points, title="FLOPs against run time"), path)


def _roofline(path: Path, results: Sequence[Result]) -> None:
    from onnx_pare.bench.figures import save_figure
    from onnx_pare.bench.roofline import RooflinePoint, roofline
    from onnx_pare.cli.bench_results import Predicted

    (result,) = (result for result in results if isinstance(result, Predicted))
    points = [
        RooflinePoint(op.name or op.op, op.op_class, op.flops, op.moved_bytes, op.ms / 1e3)
        for op in result.forecast.prediction.ops
    ]
    title = f"{result.model.name} on {result.profile.name}"
    save_figure(roofline(points, roofs(result.forecast), title=title, kind=result.profile.kind), path)


def roofs(forecast: Forecast) -> Roofs:
    """Return the peaks that are known of the device, and what its profile says that the runtime reaches."""
    from onnx_pare.bench.roofline import Roofs

    profile = forecast.profile
    facts = profile.known.facts
    flops, moved = {}, {}
    for one in forecast.prediction.bases:
        peak = facts.peak(profile.on.inside(one.dtype))
        if peak is not None:
            flops[f"{one.dtype} peak"] = peak * GIGA
        flops[f"{one.dtype} reached"] = 2 * one.rates.work_per_s
        if isfinite(one.rates.bytes_per_s):
            moved[f"memory reached, {one.dtype}"] = one.rates.bytes_per_s
    if facts.memory_gb_per_s is not None:
        moved["memory peak"] = facts.memory_gb_per_s * GIGA
    return Roofs(flops, moved)
