from __future__ import annotations

import pytest

from onnx_pare.cli import units


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0, "", "0"),
        (999, "", "999"),
        (1000, "", "1 k"),
        (40_551_234, "MACs", "40.55 MMACs"),
        (1.5e9, "B", "1.5 GB"),
        (2e12, "", "2 T"),
        (5, "B", "5 B"),
    ],
)
def test_count(number: float, unit: str, text: str) -> None:
    assert units.count(number, unit) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0.3634, "0.363 ms"), (0.5, "0.500 ms"), (12.44, "12.4 ms"), (250, "250 ms"), (1250, "1.25 s")],
)
def test_duration(ms: float, text: str) -> None:
    assert units.duration(ms) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (float("inf"), "identical"), (30.54, "30.5 dB"), (-2, "-2.0 dB")]
)
def test_decibels(value: float | None, text: str) -> None:
    assert units.decibels(value) == text


def test_percent() -> None:
    assert units.percent(0.9045) == "90.45 %"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.31628, "0.3163"), (105002, "105,002"), (float("inf"), "inf"), (-3.5, "-3.5")],
)
def test_plain(value: float, text: str) -> None:
    assert units.plain(value) == text
