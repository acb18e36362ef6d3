"""The tables of `quantization.py`: a row a tool, and this project against the best of its peers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from onnx_pare.bench.statistics import median, median_interval

# a peer's result counts as good as the best peer's within this many dB
CLOSE_DB = 1.0
# what stands for identical outputs: nothing was quantized, and a difference to it means nothing
IDENTICAL_DB = 200.0
# characters of a note that the table shows; the JSON has all
NOTE = 80

HEAD = (
    f"    {'tool':24}{'top-1 %':>15}{'SQNR dB':>9}{'agree %':>9}{'speed-up':>21}"
    f"{'quantize s':>12}{'process s':>11}{'peak MB':>9}{'kB':>8}  note"
)


def row_line(row: dict[str, Any]) -> str:
    if row["failure"]:
        return f"    {row['tool']:24}FAILED: {row['failure']}"
    top1 = "-" if row["top1"] is None else f"{100 * row['top1_float']:.2f} → {100 * row['top1']:.2f}"
    cells = (
        f"{top1:>15}",
        f"{_shown(row['sqnr_db']):>9}",
        f"{_shown(row['top1_agreement'], 100, 2):>9}",
        f"{_speed(row['speedup'], row['interval']):>21}",
        f"{_shown(row['seconds']):>12}",
        f"{_shown(row['process_s']):>11}",
        f"{_shown(row['peak_bytes'], 1e-6, 0):>9}",
        f"{_shown(row['size_bytes'], 1e-3, 0):>8}",
    )
    return f"    {row['tool']:24}{''.join(cells)}  {textwrap.shorten(row['note'], NOTE, placeholder=' ...')}"


def _shown(value: float | None, scale: float = 1.0, digits: int = 1) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"


def _speed(ratio: float, interval: tuple[float, float]) -> str:
    return f"{ratio:.2f}× [{interval[0]:.2f}, {interval[1]:.2f}]"


def summarize(rows: list[dict[str, Any]], ours: str) -> dict[str, Any]:
    """Return a comparison of every model that onnx-pare and a peer quantized, and the means over them."""
    models = [_versus(own, peers) for own, peers in _groups(rows, ours)]
    gains = [each["gain_db"] for each in models if each["gain_db"] is not None]
    speeds = [each["speed_ratio"] for each in models]
    return {
        "models": models,
        "mean_gain_db": float(np.mean(gains)) if gains else None,
        "gains": len(gains),
        "mean_speed_ratio": float(np.exp(np.mean(np.log(speeds)))) if speeds else None,
        "left_out": sorted({row["model"] for row in rows} - {each["model"] for each in models}),
    }


def _groups(rows: list[dict[str, Any]], ours: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    for own in (row for row in rows if row["tool"] == ours and not row["failure"]):
        same = [row for row in rows if row["model"] == own["model"] and not row["failure"] and row is not own]
        if same:
            yield own, same


def _versus(own: dict[str, Any], peers: list[dict[str, Any]]) -> dict[str, Any]:
    best = max(peers, key=_sqnr)
    fast = max((row for row in peers if _sqnr(row) >= _sqnr(best) - CLOSE_DB), key=lambda row: row["speedup"])
    ratios = np.array(fast["rounds_ms"]) / np.array(own["rounds_ms"])
    agreements = [row["top1_agreement"] for row in peers if row["top1_agreement"] is not None]
    agreement = max(agreements, default=None)
    comparable = max(_sqnr(own), _sqnr(best)) < IDENTICAL_DB and min(_sqnr(own), _sqnr(best)) > -IDENTICAL_DB
    return {
        "model": own["model"],
        "best_peer": best["tool"],
        "gain_db": _sqnr(own) - _sqnr(best) if comparable else None,
        "sqnr_at_least": _sqnr(own) >= _sqnr(best),
        "agreement_gain": None if agreement is None else own["top1_agreement"] - agreement,
        "fast_peer": fast["tool"],
        "speed_ratio": median(ratios),
        "interval": median_interval(ratios),
    }


def _sqnr(row: dict[str, Any]) -> float:
    return -IDENTICAL_DB if row["sqnr_db"] is None else float(row["sqnr_db"])


def summary_lines(summary: dict[str, Any]) -> Iterator[str]:
    """Yield the lines to print."""
    models = summary["models"]
    yield f"onnx-pare against the best peer; in speed against the fastest peer within {CLOSE_DB:g} dB of it"
    heads = f"{'SQNR':>12} {'>=?':6}{'agreement':>10} {'>=?':6}{'best peer':24}{'speed':>21}"
    yield f"    {'model':32}{heads}  fastest good peer"
    yield from map(_line, models)
    if models:
        mean = "-" if summary["mean_gain_db"] is None else f"{summary['mean_gain_db']:+.2f} dB"
        better = sum(each["sqnr_at_least"] for each in models)
        gains = [each["agreement_gain"] for each in models if each["agreement_gain"] is not None]
        agreeing = sum(gain >= 0 for gain in gains)
        yield (
            f"{len(models)} models: mean SQNR difference {mean} (over {summary['gains']}), "
            f"geometric mean of speed {summary['mean_speed_ratio']:.3f}×; "
            f"at least the best peer's SQNR on {better}, agreement on {agreeing} of {len(gains)} with classes"
        )
    if summary["left_out"]:
        yield f"not compared, onnx-pare or all peers failed: {', '.join(summary['left_out'])}"


def _line(each: dict[str, Any]) -> str:
    gain = "-" if each["gain_db"] is None else f"{each['gain_db']:+.1f} dB"
    agreement, verdict = "-", ""
    if each["agreement_gain"] is not None:
        agreement, verdict = f"{100 * each['agreement_gain']:+.2f} %", _verdict(each["agreement_gain"] >= 0)
    speed = _speed(each["speed_ratio"], each["interval"])
    return (
        f"    {each['model']:32}{gain:>12} {_verdict(each['sqnr_at_least']):6}{agreement:>10} {verdict:6}"
        f"{each['best_peer']:24}{speed:>21}  {each['fast_peer']}"
    )


def _verdict(reached: bool) -> str:
    return "yes" if reached else "NO"
