"""Logarithmic axes with plain numbers, wide enough to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# an axis shows at least this ratio, so that it has two numbers
_LEAST_SPAN = 120.0


def set_log_axes(axes: Axes, across: Sequence[float], upward: Sequence[float], margin: float) -> None:
    """Make both axes logarithmic, show all these positive values, and leave room around them by a factor."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set(xscale="log", yscale="log")
    axes.set_xlim(*_span(across, margin))
    axes.set_ylim(*_span(upward, margin))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(which="major", color="0.92")
    axes.set_axisbelow(True)


def _span(values: Sequence[float], margin: float) -> tuple[float, float]:
    low, high = min(values, default=1.0) / margin, max(values, default=1.0) * margin
    wider = max(1.0, (_LEAST_SPAN * low / high) ** 0.5)
    return low / wider, high * wider
