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
    if old == new or (old and abs(new / old - 1) < SAME):
        change = "same"
    elif old and new:
        less, more = less_more
        change = f"{old / new:.2f}× {less}" if new < old else f"{new / old:.2f}× {more}"
    return name, show(old), show(new), change


def speed(speedup: float, low: float, high: float) -> str:
    """Return `2.70× faster`, `1.30× slower` or `no clear change`, with the interval, as rich markup."""
    if low > 1 and speedup >= CLEAR:
        return f"[green]{speedup:.2f}× faster[/] \\[{low:.2f}, {high:.2f}]"
    if high < 1 and speedup <= 1 / CLEAR:
        return f"[red]{1 / speedup:.2f}× slower[/] \\[{1 / high:.2f}, {1 / low:.2f}]"
    return f"no clear change \\[{low:.2f}, {high:.2f}]"
