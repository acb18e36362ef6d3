"""How two numbers differ, in words: for the summaries of before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Row = tuple[str, str, str, str]
# changes within this ratio are called the same
SAME = 0.005
# speed-ups closer to 1 than this are within what a measurement on a busy machine can tell
CLEAR = 1.02


def amount(
    name: str,
    key: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    show: Callable[[float], str],
    less_more: tuple[str, str] = ("fewer", "more"),
) -> Row:
    """Return a row: the name, two costs, and `3.75× smaller`, `same`, or nothing where one is zero."""
    old, new = before[key], after[key]
    change = ""
    if old == new:
        change = "same"
    elif old and new:
        change = ratio(new / old, less_more)
    return name, show(old), show(new), change


def ratio(after_over_before: float, less_more: tuple[str, str]) -> str:
    """Return a ratio in words: `3.75× smaller`, `1.20× larger` or `same`."""
    if abs(after_over_before - 1) < SAME:
        return "same"
    less, more = less_more
    return (
        f"{1 / after_over_before:.2f}× {less}"
        if after_over_before < 1
        else f"{after_over_before:.2f}× {more}"
    )


def speed(speedup: float, low: float, high: float) -> str:
    """Return `2.70× faster`, `1.30× slower` or `no clear change`, with the interval, as rich markup."""
    if low > 1 and speedup >= CLEAR:
        return f"[green]{speedup:.2f}× faster[/] \\[{low:.2f}, {high:.2f}]"
    if high < 1 and speedup <= 1 / CLEAR:
        return f"[red]{1 / speedup:.2f}× slower[/] \\[{1 / high:.2f}, {1 / low:.2f}]"
    return f"no clear change \\[{low:.2f}, {high:.2f}]"
