from __future__ import annotations

import pytest

from onnx_pare.cli.changes import amount, speed


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (400, 100, "4.00× fewer"),
        (100, 250, "2.50× more"),
        (1000, 1001, "same"),
        (0, 0, "same"),
        (0, 5, ""),
        (5, 0, ""),
    ],
)
def test_amount(before: int, after: int, change: str) -> None:
    row = amount("MACs", "macs", {"macs": before}, {"macs": after}, str)
    assert row == ("MACs", str(before), str(after), change)


@pytest.mark.parametrize(
    ("speedup", "low", "high", "text"),
    [
        (2.5, 2.4, 2.6, "[green]2.50× faster[/] \\[2.40, 2.60]"),
        (0.5, 0.4, 0.8, "[red]2.00× slower[/] \\[1.25, 2.50]"),
        (1.01, 0.95, 1.05, "no clear change \\[0.95, 1.05]"),
        (1.015, 1.01, 1.02, "no clear change \\[1.01, 1.02]"),
        (0.99, 0.985, 0.995, "no clear change \\[0.98, 0.99]"),
    ],
)
def test_speed_is_only_called_when_the_interval_says_so(speedup, low, high, text) -> None:
    assert speed(speedup, low, high) == text
