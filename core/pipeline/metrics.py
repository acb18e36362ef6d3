"""The numbers of a report that gates may ask for, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from onnx_pare.bench.tally import DB_LIMIT

#: metric -> what it is, for the documentation and the schema
METRICS: Mapping[str, str] = {
    "top1_drop": "labelled top-1 accuracy before minus after, as a fraction (0.01 is one point)",
    "top1_agreement": "fraction of samples whose top-1 class stayed the same",
    "sqnr_db": "signal to quantization noise ratio of the outputs against the original, in dB",
    "speedup": "latency before over latency after, per profile",
    "latency_ms": "latency after, in ms, per profile",
    "size_ratio": "file size after over before",
    "size_bytes": "file size after, in bytes",
    "macs_ratio": "MACs after over before",
    "params_ratio": "parameters after over before",
    "peak_memory_bytes": "peak activation memory after, in bytes",
}
PER_PROFILE = frozenset({"speedup", "latency_ms"})

Value = float | Mapping[str, float | None] | None


def metric_values(report: Mapping[str, Any]) -> Mapping[str, Value]:
    """Return the numbers of a report, by the names of `METRICS`; those of `PER_PROFILE` by profile.

    Args:
        report: JSON values with the keys `before`, `after`, `fidelity`, `accuracy` and `latency` of a report.

    Returns:
        None where the report has no such number. An SQNR is infinite where JSON says 200 or −200 dB.
    """
    before, after, accuracy = report["before"], report["after"], report["accuracy"]
    return {
        "top1_drop": None if accuracy is None else accuracy["before"] - accuracy["after"],
        "top1_agreement": report["fidelity"]["top1_agreement"],
        "sqnr_db": _unlimited(report["fidelity"]["sqnr_db"]),
        "speedup": {entry["profile"]: entry["speedup"] for entry in report["latency"]},
        "latency_ms": {entry["profile"]: entry["after_ms"] for entry in report["latency"]},
        "size_ratio": _ratio(after, before, "size_bytes"),
        "size_bytes": after["size_bytes"],
        "macs_ratio": _ratio(after, before, "macs"),
        "params_ratio": _ratio(after, before, "params"),
        "peak_memory_bytes": after["peak_activation_bytes"],
    }


def _unlimited(sqnr_db: float | None) -> float | None:
    """Undo `json_db`: its limits stand for identical outputs, and for ones of which nothing is left."""
    if sqnr_db is None or abs(sqnr_db) < DB_LIMIT:
        return sqnr_db
    return math.copysign(math.inf, sqnr_db)


def _ratio(after: Mapping[str, Any], before: Mapping[str, Any], key: str) -> float | None:
    return after[key] / before[key] if before[key] else None
