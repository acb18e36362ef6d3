from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onnx_pare.bench.figures import save_figure
from onnx_pare.bench.roofline import RooflinePoint, Roofs, roofline

pytest.importorskip("matplotlib")

ROOFS = Roofs({"float32": 100e9, "int8": 400e9}, {"memory": 20e9})
POINTS = [
    RooflinePoint("a long name/of/some/layer/in/a/network/conv", "conv", 2e9, 1e7, 0.03),
    RooflinePoint("relu", "elementwise", 1e6, 8e6, 0.001),
    RooflinePoint("cat", "copy", 0, 1e7, 0.0091),
]


def texts(figure: Any) -> list[str]:
    axes = figure.axes[0]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    return [axes.get_title(), axes.get_ylabel(), *legend, *(text.get_text() for text in axes.texts)]


def test_points_lie_at_their_intensity_and_what_they_reach() -> None:
    figure = roofline(POINTS, ROOFS, title="net on board", kind="predicted")
    offsets = [tuple(each.get_offsets()[0]) for each in figure.axes[0].collections]
    assert offsets == [pytest.approx((200, 2e9 / 0.03 / 1e9)), pytest.approx((0.125, 1.0))]


def test_the_legend_lists_classes_by_time_and_what_computes_nothing() -> None:
    found = texts(roofline(POINTS, ROOFS, title="net on board", kind="predicted"))
    assert found[:2] == ["net on board\n40.1 ms predicted, 3 operators", "GFLOP/s, predicted"]
    assert found[2:5] == ["conv 75%", "elementwise 2%", "no arithmetic 23%"]
    assert {"float32 100 GFLOP/s", "int8 400 GFLOP/s", "memory 20 GB/s", "relu"} <= set(found)
    assert any(text.startswith("…") and text.endswith("/conv") for text in found)


def test_roofs_meet_at_the_ridge() -> None:
    lines = [
        line
        for line in roofline(POINTS, ROOFS, title="", kind="measured").axes[0].lines
        if len(line.get_xdata()) == 2
    ]
    ends = [(tuple(line.get_xdata()), tuple(line.get_ydata())) for line in lines]
    (float32, int8, memory) = ends
    assert float32[0][0] == pytest.approx(5)
    assert int8[0][0] == pytest.approx(20)
    assert (memory[0][1], memory[1][1]) == (pytest.approx(20), pytest.approx(400))


@pytest.mark.parametrize("points", [[], POINTS[:1], POINTS[2:]])
def test_few_points_are_enough(points: list[RooflinePoint], tmp_path: Path) -> None:
    save_figure(roofline(points, ROOFS, title="net", kind="measured"), tmp_path / "out.svg")
    assert "float32 100 GFLOP/s" in (tmp_path / "out.svg").read_text(encoding="utf-8")
