"""FLOPs against run time, one point for each model and profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_pare.bench.labels import Label, place
from onnx_pare.bench.log_axes import set_log_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS = {True: "measured", False: "predicted"}
_MARGIN = 2.0
# this many points make the picture twice as wide and high, which is the most
_CROWD = 150


@dataclass(frozen=True)
class ModelPoint:
    """One model on one profile.

    Attributes:
        name: The model's.
        profile: Where it runs.
        flops: 2 a MAC, of one run.
        latency_ms: What one run takes.
        interval_ms: Within which the latency is said to lie; None if nothing is said.
        measured: Whether the latency was measured, not predicted.
    """

    name: str
    profile: str
    flops: float
    latency_ms: float
    interval_ms: tuple[float, float] | None
    measured: bool

    @property
    def range_ms(self) -> tuple[float, float]:
        """The interval, or the latency alone."""
        return self.interval_ms or (self.latency_ms, self.latency_ms)


def flops_against_latency(points: Sequence[ModelPoint], *, title: str) -> Figure:
    """Draw models on logarithmic axes: measured ones as filled markers, predicted ones as hollow ones.

    Each model is named once, at its first point, if there is room. Models that multiply nothing have no
    place; the picture says how many.
    """
    from matplotlib.figure import Figure

    drawn = [point for point in points if point.flops > 0 and point.latency_ms > 0]
    scale = 1 + min(1.0, len(drawn) / _CROWD)
    figure = Figure(figsize=(9 * scale, 6 * scale), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel="GFLOPs, 2 for each multiply-accumulate", ylabel="ms")
    axes.set_title(title, fontsize=11, parse_math=False)
    times = [each for point in drawn for each in (point.latency_ms, *point.range_ms) if each > 0]
    set_log_axes(axes, [point.flops / 1e9 for point in drawn], times, _MARGIN)
    for number, profile in enumerate(dict.fromkeys(point.profile for point in drawn)):
        for measured, kind in _KINDS.items():
            members = [p for p in drawn if p.profile == profile and p.measured == measured]
            if members:
                _draw(axes, members, f"C{number % 10}", f"{profile}, {kind}")
    if drawn:
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.draw_without_rendering()
    _name(axes, drawn, len(points) - len(drawn))
    return figure


def _draw(axes: Axes, points: Sequence[ModelPoint], colour: str, label: str) -> None:
    axes.errorbar(
        [point.flops / 1e9 for point in points],
        [point.latency_ms for point in points],
        yerr=[
            [max(0.0, point.latency_ms - point.range_ms[0]) for point in points],
            [max(0.0, point.range_ms[1] - point.latency_ms) for point in points],
        ],
        fmt="o",
        markersize=5,
        color=colour,
        markerfacecolor=colour if points[0].measured else "white",
        elinewidth=0.8,
        capsize=2,
        label=label,
    )


def _name(axes: Axes, points: Sequence[ModelPoint], not_drawn: int) -> None:
    first: dict[str, Label] = {}
    for point in points:
        first.setdefault(point.name, Label(point.name, point.flops / 1e9, point.latency_ms))
    clear = [(p.flops / 1e9, each) for p in points for each in (p.latency_ms, *p.range_ms) if each > 0]
    unnamed = place(axes, list(first.values()), clear)
    notes = {"names left out for lack of room": unnamed, "points left out, which multiply nothing": not_drawn}
    text = "\n".join(f"{what}: {number}" for what, number in notes.items() if number)
    axes.text(0.99, 0.01, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=7)
