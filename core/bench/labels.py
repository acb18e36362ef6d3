"""Names beside the points of a plot, where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

    Box = tuple[float, float, float, float]

# how far from the point, and where, in the order in which they are tried
_DISTANCES_PT = (5, 11, 18, 27, 40, 56)
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_ACROSS = {1: "left", 0: "center", -1: "right"}
_UPWARD = {1: "bottom", 0: "center", -1: "top"}
_SIZE_PT = 7.0
_NEAR_PT = 12
_POINT_PX = 4.0


@dataclass(frozen=True)
class Label:
    """A name for a point of the axes, in data coordinates; `radius_pt` is that of its marker."""

    text: str
    x: float
    y: float
    radius_pt: float = 0.0


def place(axes: Axes, labels: Sequence[Label], points: Sequence[tuple[float, float]]) -> int:
    """Write names so that none covers another, a point, or text; return how many found no room.

    Those given first choose first; the farther ones get a line to their point. The layout must be final:
    limits set, and the figure drawn once.

    Args:
        axes: Where to write.
        labels: The names.
        points: All points to keep clear of.
    """
    centres = [axes.transData.transform(point) for point in points]
    taken = [(x - _POINT_PX, y - _POINT_PX, x + _POINT_PX, y + _POINT_PX) for x, y in centres]
    taken += [_edges(text.get_window_extent()) for text in axes.texts]
    frame = axes.get_window_extent()
    return sum(not _placed(axes, label, frame, taken) for label in labels)


def _placed(axes: Axes, label: Label, frame: Bbox, taken: list[Box]) -> bool:
    text = _write(axes, label, (0, 0), 0)
    size = text.get_window_extent()
    text.remove()
    x, y = axes.transData.transform((label.x, label.y))
    pixels = axes.figure.get_dpi() / 72
    for distance, (right, up) in product(_DISTANCES_PT, _DIRECTIONS):
        box = _box(x, y, (right, up), (distance + label.radius_pt) * pixels, size)
        inside = frame.x0 < box[0] and box[2] < frame.x1 and frame.y0 < box[1] and box[3] < frame.y1
        if inside and not any(_overlap(box, other) for other in taken):
            _write(axes, label, (right, up), distance)
            taken.append(box)
            return True
    return False


def _edges(box: Bbox) -> Box:
    return box.x0, box.y0, box.x1, box.y1


def _box(x: float, y: float, direction: tuple[int, int], distance: float, size: Bbox) -> Box:
    left = x + direction[0] * distance + (direction[0] - 1) / 2 * size.width
    bottom = y + direction[1] * distance + (direction[1] - 1) / 2 * size.height
    return left, bottom, left + size.width, bottom + size.height


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _write(axes: Axes, label: Label, direction: tuple[int, int], distance_pt: int) -> Annotation:
    line = {"arrowstyle": "-", "color": "0.7", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
    return axes.annotate(
        label.text,
        (label.x, label.y),
        xytext=tuple(part * (distance_pt + label.radius_pt) for part in direction),  # type: ignore[arg-type, unused-ignore]
        textcoords="offset points",
        horizontalalignment=_ACROSS[direction[0]],  # type: ignore[arg-type, unused-ignore]
        verticalalignment=_UPWARD[direction[1]],  # type: ignore[arg-type, unused-ignore]
        fontsize=_SIZE_PT,
        color="0.25",
        parse_math=False,
        arrowprops=line if distance_pt > _NEAR_PT else None,
    )
