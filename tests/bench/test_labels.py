from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from onnx_pare.bench.labels import Label, place

pytest.importorskip("matplotlib")


def axes() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4))
    made = figure.add_subplot()
    made.set(xlim=(0, 10), ylim=(0, 10))
    figure.draw_without_rendering()
    return made


def test_names_cover_neither_each_other_nor_points() -> None:
    made = axes()
    points = [(x / 2, y / 2) for x in range(1, 20, 3) for y in range(1, 20, 3)]
    left_out = place(made, [Label(f"model {x:g} {y:g}", x, y) for x, y in points], points)
    boxes = [text.get_window_extent() for text in made.texts]
    assert len(boxes) + left_out == len(points)
    assert len(boxes) > len(points) / 2
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.contains(*made.transData.transform(point)) for box in boxes for point in points)
    frame = made.get_window_extent()
    assert all(frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1) for box in boxes)


def test_what_finds_no_room_is_counted() -> None:
    made = axes()
    same = [(5.0, 5.0)] * 100
    left_out = place(made, [Label("a rather long name of a model", x, y) for x, y in same], same)
    assert left_out == 100 - len(made.texts) > 50


def test_names_are_no_formulas() -> None:
    made = axes()
    place(made, [Label("a$b$c", 5, 5)], [(5, 5)])
    assert made.texts[0].get_text() == "a$b$c"
    assert not made.texts[0].get_parse_math()
