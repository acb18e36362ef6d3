"""Latency of a list of kernels on a device: the formula of docs/profiles.md.

For each kernel, with `work` its MACs, or the elements it stores where it does no MACs:

    t = o·l + ( (work · c · h / F)^p + ((bytes · m + weight_bytes · w) / B)^p )^(1/p)
    h = 1 + a / inner + b / outer + s / rows

F (work per second), B (bytes per second) and o (seconds per kernel) belong to a device, a runtime and a data
type; the costs c, m, w, l, a, b, s of a class of operators to a kind of runtime. With p = 2 compute and memory
overlap as in the smoothed roofline model (Williams et al. 2009); a kernel is never faster than either bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx_pare.cost.kernels import Kernel

    Floats = np.ndarray[Any, np.dtype[np.float64]]

POWER = 2.0


@dataclass(frozen=True)
class ClassCost:
    """What a class of operators costs, relative to the device's rates.

    Attributes:
        compute: c, time for one MAC (or element) in units of 1/F.
        memory: m, of one byte of activations in units of 1/B.
        weights: w, of one byte of weights in units of 1/B.
        launch: l, overhead in units of o.
        inner, outer, rows: a, b, s: how much narrow layers and small maps lose.
    """

    compute: float = 1.0
    memory: float = 1.0
    weights: float = 1.0
    launch: float = 1.0
    inner: float = 0.0
    outer: float = 0.0
    rows: float = 0.0


@dataclass(frozen=True)
class Rates:
    """How fast a device is in one runtime and data type, with a given number of threads.

    Attributes:
        work_per_s: F, MACs per second of the cheapest class.
        bytes_per_s: B.
        overhead_s: o, seconds per kernel.
        factors: Class -> factor on its compute and memory costs that this device differs by.
    """

    work_per_s: float
    bytes_per_s: float
    overhead_s: float
    factors: Mapping[str, float]


@dataclass(frozen=True)
class KernelTimes:
    """Seconds of each kernel, and of its compute, memory and overhead parts alone; shape (kernels,)."""

    total_s: Floats
    compute_s: Floats
    memory_s: Floats
    overhead_s: Floats


def kernel_times(work: Sequence[Kernel], costs: Mapping[str, ClassCost], rates: Rates) -> KernelTimes:
    """Predict each kernel; a class that `costs` lacks costs like the default of ClassCost."""
    of = [costs.get(kernel.op_class, ClassCost()) for kernel in work]
    factor = np.array([rates.factors.get(kernel.op_class, 1.0) for kernel in work])
    macs = np.array([float(kernel.macs or kernel.elements) for kernel in work])
    h = np.array(
        [
            1 + c.inner / max(1, k.inner) + c.outer / k.outer + c.rows / k.rows
            for c, k in zip(of, work, strict=True)
        ]
    )
    moved = np.array(
        [
            c.memory * (k.read_bytes + k.written_bytes) + c.weights * k.weight_bytes
            for c, k in zip(of, work, strict=True)
        ]
    )
    compute = factor * macs * np.array([c.compute for c in of]) * h / rates.work_per_s
    memory = factor * moved / rates.bytes_per_s
    overhead = rates.overhead_s * np.array([c.launch for c in of])
    return KernelTimes(overhead + (compute**POWER + memory**POWER) ** (1 / POWER), compute, memory, overhead)
