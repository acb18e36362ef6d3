"""The roofline of a model on a device: what its operators reach under the two limits of compute and memory.

Williams et al., Roofline: an insightful visual performance model for multicore architectures, 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import atan2, cos, degrees, pi, sin, sqrt
from typing import TYPE_CHECKING

from onnx_pare.bench.labels import Label, place
from onnx_pare.bench.log_axes import set_log_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMED = 5
_LONGEST_NAME = 30
# areas of markers in pt²: of all the time, and at least
_WHOLE_PT2, _SMALLEST_PT2 = 700.0, 12.0
_COLOURS = 10
_MARGIN = 3.0
# where the name of a roof stands, and how finely names of points keep clear of the roof
_ALONG_PT, _ABOVE_PT, _STEPS = 8.0, 3.0, 100


@dataclass(frozen=True)
class RooflinePoint:
    """One operator, or kernel.

    Attributes:
        name: Its name.
        op_class: Its class, for the legend.
        flops: What it computes: 2 a MAC; where it multiplies nothing, one for each element that it makes.
        moved_bytes: What it reads and writes, weights included.
        seconds: What it takes.
    """

    name: str
    op_class: str
    flops: float
    moved_bytes: float
    seconds: float

    @property
    def intensity(self) -> float:
        """FLOP a byte."""
        return self.flops / self.moved_bytes

    @property
    def gflops_per_s(self) -> float:
        """What it reaches."""
        return self.flops / self.seconds / 1e9


@dataclass(frozen=True)
class Roofs:
    """The limits of a device, each with the name it gets in the picture.

    Attributes:
        flops_per_s: Name, as in `float32` or `int8` -> peak; at least one.
        bytes_per_s: Name, as in `memory` or `L2` -> bandwidth; at least one.
    """

    flops_per_s: Mapping[str, float]
    bytes_per_s: Mapping[str, float]


def roofline(points: Sequence[RooflinePoint], roofs: Roofs, *, title: str, kind: str) -> Figure:
    """Draw operators by intensity and by what they reach, under the roofs; name the five dearest.

    The area of a marker is the share of time; classes are listed by theirs. Operators that compute nothing
    have no place here: the legend says what they take.

    Args:
        points: The operators of one run.
        roofs: The device's.
        title: What runs on what.
        kind: `measured` or `predicted`: how the times came about.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    total_s = sum(point.seconds for point in points)
    drawn = [p for p in points if p.flops > 0 and p.moved_bytes > 0 and p.seconds > 0]
    peak, bandwidth = max(roofs.flops_per_s.values()), max(roofs.bytes_per_s.values())
    across = [*(point.intensity for point in drawn), peak / bandwidth]
    set_log_axes(axes, across, [*(point.gflops_per_s for point in drawn), peak / 1e9], _MARGIN)
    axes.set_title(
        f"{title}\n{1e3 * total_s:.3g} ms {kind}, {len(points)} operators", fontsize=11, parse_math=False
    )
    axes.set_xlabel("intensity, FLOP a byte read or written")
    axes.set_ylabel(f"GFLOP/s, {kind}")
    _draw_points(axes, drawn, total_s)
    missing_s = total_s - sum(point.seconds for point in drawn)
    if missing_s > 0:
        axes.plot([], [], " ", label=f"no arithmetic {missing_s / total_s:.0%}")
    if points:
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    figure.draw_without_rendering()
    along = _draw_roofs(axes, roofs)
    dearest = sorted(drawn, key=lambda point: -point.seconds)[:_NAMED]
    labels = [
        Label(_short(p.name), p.intensity, p.gflops_per_s, sqrt(_area(p, total_s) / pi)) for p in dearest
    ]
    place(axes, labels, [*((point.intensity, point.gflops_per_s) for point in drawn), *along])
    return figure


def _area(point: RooflinePoint, total_s: float) -> float:
    return max(_SMALLEST_PT2, _WHOLE_PT2 * point.seconds / total_s)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _draw_points(axes: Axes, points: Sequence[RooflinePoint], total_s: float) -> None:
    """Draw the classes in the order of their shares of time; the last ones, if many, share grey."""
    shares: dict[str, float] = {}
    for point in points:
        shares[point.op_class] = shares.get(point.op_class, 0.0) + point.seconds / total_s
    for index, kind in enumerate(sorted(shares, key=lambda each: -shares[each])):
        members = [point for point in points if point.op_class == kind]
        colour = f"C{index}" if index < _COLOURS else "0.5"
        axes.scatter(
            [point.intensity for point in members],
            [point.gflops_per_s for point in members],
            s=[_area(point, total_s) for point in members],
            color=colour,
            alpha=0.75,
            edgecolors="white",
            linewidths=0.5,
            zorder=3,
        )
        axes.plot([], [], "o", color=colour, markersize=5, label=f"{kind} {shares[kind]:.0%}")


def _draw_roofs(axes: Axes, roofs: Roofs) -> list[tuple[float, float]]:
    """Draw each limit up to where it meets the highest of the other kind; return points along them."""
    left, right = axes.get_xlim()
    bandwidth, peak = max(roofs.bytes_per_s.values()), max(roofs.flops_per_s.values())
    along: list[tuple[float, float]] = []
    for name, flops_per_s in roofs.flops_per_s.items():
        ends = ((flops_per_s / bandwidth, flops_per_s / 1e9), (right, flops_per_s / 1e9))
        along += _draw_roof(axes, *ends, f"{name} {flops_per_s / 1e9:,.4g} GFLOP/s", at_end=True)
    for name, bytes_per_s in roofs.bytes_per_s.items():
        low, ridge = max(left, axes.get_ylim()[0] * 1e9 / bytes_per_s), peak / bytes_per_s
        ends = ((low, bytes_per_s * low / 1e9), (ridge, peak / 1e9))
        along += _draw_roof(axes, *ends, f"{name} {bytes_per_s / 1e9:,.4g} GB/s", at_end=False)
    return along


def _draw_roof(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str, *, at_end: bool
) -> list[tuple[float, float]]:
    """Draw one limit, and its name along it; return points along it."""
    axes.plot(*zip(start, end, strict=True), color="0.3", linewidth=1.2, zorder=2)
    (x0, y0), (x1, y1) = axes.transData.transform((start, end))
    angle = atan2(y1 - y0, x1 - x0)
    forward = -_ALONG_PT if at_end else _ALONG_PT
    axes.annotate(
        text,
        end if at_end else start,
        xytext=(
            forward * cos(angle) - _ABOVE_PT * sin(angle),
            forward * sin(angle) + _ABOVE_PT * cos(angle),
        ),
        textcoords="offset points",
        horizontalalignment="right" if at_end else "left",
        rotation=degrees(angle),
        rotation_mode="anchor",
        fontsize=8,
        parse_math=False,
    )
    parts = [step / _STEPS for step in range(_STEPS + 1)]
    return [(start[0] * (end[0] / start[0]) ** t, start[1] * (end[1] / start[1]) ** t) for t in parts]
