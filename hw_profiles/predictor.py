"""Latency of a list of kernels on a device: the formula of docs/profiles.md.

For each kernel, with `work` its MACs, or the elements it stores where it does no MACs:

    t = o·l + sqrt( (work · f · c · h / F)² + (f · (bytes · m + weight_bytes · w) / B)² )
    h = 1 + a / summed + b / outer + s / rows

`summed` is how many products one output adds up (input channels of a group times kernel area, K), `outer`
the output channels of a group (N), `rows` the positions (M). F (work per second), B (bytes per second), o
(seconds per kernel) and the factors f of classes of operators belong to a device, a runtime, a data type and
a number of threads; the costs c, m, w, l, a, b, s of a class to a kind of runtime. The root is a smoothed
roofline (Williams et al., "Roofline", 2009): compute and memory traffic overlap, and a kernel is never faster
than either of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.cost.op_classes import OP_CLASSES

if TYPE_CHECKING:
    from onnx_pare.cost.kernels import Kernel

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Integers = np.ndarray[Any, np.dtype[np.int64]]

CLASSES = tuple(OP_CLASSES)
INDEX = {name: index for index, name in enumerate(CLASSES)}


@dataclass(frozen=True)
class ClassCost:
    """What a class of operators costs, relative to the device's rates.

    Attributes:
        compute: c, time for one MAC (or element) in units of 1/F.
        memory: m, of one byte of activations in units of 1/B.
        weights: w, of one byte of weights in units of 1/B.
        launch: l, overhead in units of o.
        inner, outer, rows: a, b, s: how much short sums, few output channels and small maps lose.
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
        work_per_s: F, MACs per second of a class that costs 1.
        bytes_per_s: B.
        overhead_s: o, seconds per kernel.
        factors: Class -> f; 1 where it is not named.
    """

    work_per_s: float
    bytes_per_s: float
    overhead_s: float
    factors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """Kernels as columns, shape (kernels,) each: what the formula needs of them."""

    op_class: Integers
    amount: Floats
    activation_bytes: Floats
    weight_bytes: Floats
    inner: Floats
    outer: Floats
    rows: Floats

    @classmethod
    def of(cls, kernels: Sequence[Kernel]) -> Work:
        """Gather kernels; `inner` (times the window), `outer` and `rows` as reciprocals."""
        columns = np.array(
            [
                (
                    float(kernel.macs or kernel.elements),
                    float(kernel.read_bytes + kernel.written_bytes),
                    float(kernel.weight_bytes),
                    1 / max(1, kernel.inner * kernel.window),
                    1 / max(1, kernel.outer),
                    1 / max(1, kernel.rows),
                )
                for kernel in kernels
            ]
        ).reshape(-1, 6)
        return cls(np.array([INDEX[kernel.op_class] for kernel in kernels], np.int64), *columns.T)


@dataclass(frozen=True)
class KernelTimes:
    """Seconds of kernels, and of their compute, memory and overhead parts alone; shape (…, kernels)."""

    total_s: Floats
    compute_s: Floats
    memory_s: Floats
    overhead_s: Floats


def cost_table(costs: Mapping[str, ClassCost]) -> Floats:
    """Return class costs as rows in the order of CLASSES, shape (classes, 7)."""
    return np.array([astuple(costs.get(name, ClassCost())) for name in CLASSES])


def factor_row(factors: Mapping[str, float]) -> Floats:
    """Return factors in the order of CLASSES; 1 where one is missing."""
    return np.array([factors.get(name, 1.0) for name in CLASSES])


def kernel_times(kernels: Sequence[Kernel], costs: Mapping[str, ClassCost], rates: Rates) -> KernelTimes:
    """Predict each kernel; a class that `costs` lacks costs like the default of ClassCost."""
    return times(
        Work.of(kernels),
        cost_table(costs),
        np.array([rates.work_per_s, rates.bytes_per_s, rates.overhead_s]),
        factor_row(rates.factors),
    )


def times(work: Work, table: Floats, rates: Floats, factors: Floats) -> KernelTimes:
    """Evaluate the formula.

    Args:
        work: Kernels.
        table: Class costs, shape (classes, 7).
        rates: F, B and o, shape (…, 3).
        factors: f of each class, shape (…, classes).
    """
    c, m, w, launch, a, b, s = table[work.op_class].T
    own = factors[..., work.op_class]
    h = 1 + a * work.inner + b * work.outer + s * work.rows
    compute = own * work.amount * c * h / rates[..., 0, None]
    memory = own * (work.activation_bytes * m + work.weight_bytes * w) / rates[..., 1, None]
    overhead = launch * rates[..., 2, None]
    return KernelTimes(overhead + np.hypot(compute, memory), compute, memory, overhead)
