from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.bench.figures import save_figure
from onnx_pare.bench.flops_plot import ModelPoint, flops_against_latency

pytest.importorskip("matplotlib")

POINTS = [
    ModelPoint("small", "local", 1e8, 1.0, (0.9, 1.2), measured=True),
    ModelPoint("large", "local", 1e10, 50.0, (48.0, 55.0), measured=True),
    ModelPoint("small", "board@ncnn", 1e8, 9.0, (7.0, 12.0), measured=False),
    ModelPoint("large", "board@ncnn", 1e10, 900.0, None, measured=False),
    ModelPoint("shuffles only", "local", 0, 0.1, None, measured=True),
]


def test_measured_is_filled_and_predicted_hollow() -> None:
    axes = flops_against_latency(POINTS, title="zoo").axes[0]
    measured, predicted = (container.lines[0] for container in axes.containers)
    assert list(measured.get_xdata()) == [0.1, 10]
    assert list(predicted.get_ydata()) == [9, 900]
    assert measured.get_markerfacecolor() == measured.get_color() == "C0"
    assert (predicted.get_markerfacecolor(), predicted.get_color()) == ("white", "C1")
    labels = [container.get_label() for container in axes.containers]
    assert labels == ["local, measured", "board@ncnn, predicted"]


def test_bars_span_the_interval() -> None:
    axes = flops_against_latency(POINTS, title="zoo").axes[0]
    (bars,) = axes.containers[1].lines[2]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [[7, 12], [900, 900]]


def test_each_model_is_named_once_and_what_is_left_out_is_said() -> None:
    axes = flops_against_latency(POINTS, title="zoo").axes[0]
    found = [text.get_text() for text in axes.texts]
    assert found == ["small", "large", "points left out, which multiply nothing: 1"]


@pytest.mark.parametrize("points", [[], POINTS[:1], POINTS[4:]])
def test_few_points_are_enough(points: list[ModelPoint], tmp_path: Path) -> None:
    save_figure(flops_against_latency(points, title="zoo"), tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 5000
