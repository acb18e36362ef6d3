"""Numbers as people read them, each with its unit."""

from __future__ import annotations

_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(number: float, unit: str = "") -> str:
    """Return a count with three or four digits: `40.55 M`; with a unit, `40.55 MMACs`."""
    for size, prefix in _STEPS:
        if abs(number) >= size:
            return f"{number / size:.4g} {prefix}{unit}"
    return f"{number:.4g} {unit}".rstrip()


def size(size_bytes: float) -> str:
    """Return a size in decimal units: `1.09 MB`."""
    return count(size_bytes, "B")


def duration(ms: float) -> str:
    """Return a latency in three digits: `0.363 ms`, `12.4 ms`, `1.25 s`."""
    number, unit = (ms / 1000, "s") if ms >= 1000 else (ms, "ms")
    return f"{number:#.3g}".rstrip(".") + f" {unit}"


def percent(fraction: float) -> str:
    """Return a fraction in per cent: `90.45 %`."""
    return f"{100 * fraction:.2f} %"


def decibels(value: float | None) -> str:
    """Return a signal-to-noise ratio: `30.5 dB`, `identical`, or a dash where there is none."""
    if value is None:
        return "–"
    return "identical" if value == float("inf") else f"{value:.1f} dB"


def plain(value: float) -> str:
    """Return a bare number as a gate has it: four digits, all of a large one: `0.3163`, `105,002`, `inf`."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < float("inf") else f"{value:.4g}"
