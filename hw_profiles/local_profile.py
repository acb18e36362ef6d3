"""The profile of this machine, as a file holds it, made of what calibrating it found."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnx_pare.hw_profiles.calibrate import COSTS, RUNTIME, Calibrated


def device(found: Sequence[Calibrated]) -> dict[str, Any]:
    """Return this machine's profile as the YAML file of a device holds it (see `schema.Device`)."""
    import onnxruntime as ort

    from onnx_pare.hw_profiles.cpu import features

    cpu = features()
    facts = {} if cpu.flags is None or cpu.family != "x86" else {"int8_dot_product": not cpu.saturates()}
    return {
        "title": f"this machine: {cpu.name}, {cpu.cores} cores",
        "kind": "cpu",
        "facts": facts,
        "sources": [f"pare profiles calibrate, onnxruntime {ort.__version__}, {time.strftime('%Y-%m-%d')}"],
        "runtimes": {RUNTIME: {"costs": COSTS, "fits": [_fit(one) for one in found]}},
    }


def _fit(one: Calibrated) -> dict[str, Any]:
    errors = np.abs(list(one.errors.values())) * 100
    return {
        "dtype": one.dtype,
        "threads": one.threads,
        "gmacs_per_s": _rounded(one.rates.work_per_s / 1e9),
        "gb_per_s": _rounded(one.rates.bytes_per_s / 1e9),
        "overhead_us": _rounded(one.rates.overhead_s * 1e6),
        "factors": {name: _rounded(factor) for name, factor in one.rates.factors.items()},
        "spread": _rounded(one.spread),
        "batch": [1, 1],
        "measured_models": one.networks,
        "validation": {
            "error_percent": _rounded(one.error_percent),
            "median_percent": _rounded(float(np.median(errors))),
            "within_20_percent": _rounded(100 * float(np.mean(errors <= 20))),
            "models": len(errors),
            "held_out": "small networks, one at a time",
        },
    }


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def yaml_text(made: Mapping[str, Any]) -> str:
    """Return the text of the file of a device.

    Raises:
        ProfileError: It is no profile.
    """
    import yaml

    from onnx_pare.documents.section import validate
    from onnx_pare.hw_profiles.schema import Device

    validate(Device, made)
    text: str = yaml.safe_dump(
        dict(made), sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )
    return text
