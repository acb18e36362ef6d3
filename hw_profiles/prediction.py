"""Latency of a model's kernels on a profile, with what it is made of and how sure it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, hypot
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.hw_profiles.dtypes import as_dtype, computing
from onnx_pare.hw_profiles.predictor import ClassCost, KernelTimes, kernel_times
from onnx_pare.hw_profiles.rates import GIGA, Z80, Basis, basis

if TYPE_CHECKING:
    from onnx_pare.cost.kernels import Kernel
    from onnx_pare.hw_profiles.profiles import Profile

TOP = 5
BOUNDS = ("compute", "memory", "overhead")
MS = 1e3


@dataclass(frozen=True)
class OpTime:
    """What one kernel takes.

    Attributes:
        name: Its leading node's.
        op: Its operator; `weights` for what is streamed because it does not fit on the chip.
        op_class: See `op_classes`.
        ms: Its time.
        share: That over the model's.
        bound: What takes longest in it: `compute`, `memory` or `overhead`.
        flops: 2 a MAC; where it does none, one an element that it makes.
        moved_bytes: What it reads and writes, weights included.
    """

    name: str
    op: str
    op_class: str
    ms: float
    share: float
    bound: str
    flops: float
    moved_bytes: float

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.name,
            "op": self.op,
            "class": self.op_class,
            "ms": self.ms,
            "share": self.share,
            "bound": self.bound,
        }


@dataclass(frozen=True)
class Prediction:
    """Predicted latency of one model on one profile.

    Attributes:
        latency_ms: The latency; it is as likely to be more as to be less.
        spread: Standard deviation of its logarithm.
        ops: All kernels, the most expensive first.
        bounds: `compute`, `memory`, `overhead` -> share of the time in kernels that are bound by it.
        unseen_ops: Operators whose class was not in the fit, or whose MACs are unknown.
        error_percent: Mean absolute error on held-out models that was found for the fit (the worst of them
            where data types are mixed); None if any part was not validated.
        notes: What was assumed, in sentences.
        bases: What it was predicted from, one for each data type.
    """

    latency_ms: float
    spread: float
    ops: tuple[OpTime, ...]
    bounds: Mapping[str, float]
    unseen_ops: tuple[str, ...]
    error_percent: float | None
    notes: tuple[str, ...]
    bases: tuple[Basis, ...] = ()

    @property
    def interval_ms(self) -> tuple[float, float]:
        """The 80 % interval, logarithms taken as normal."""
        return interval(self.latency_ms, self.spread)


def interval(value: float, spread: float) -> tuple[float, float]:
    """Return the 80 % interval around a value whose logarithm has that standard deviation."""
    factor = exp(Z80 * spread)
    return value / factor, value * factor


def predict(kernels: Sequence[Kernel], profile: Profile, *, threads: int = 1, batch: int = 1) -> Prediction:
    """Predict the latency of kernels that run one after the other.

    Raises:
        ProfileError: The profile says nothing about its speed.
    """
    own = _bases(kernels, profile, threads)
    run = [as_dtype(k, b.dtype) if b.assumed else k for k, b in zip(kernels, own, strict=True)]
    times = _times(run, own, profile.costs.unseen.cost.model_dump())
    ops = [_op_time(kernel, times, index) for index, kernel in enumerate(run)]
    ops += _streamed(run, profile)
    total_ms = sum(op.ms for op in ops)
    unseen = [k.op_class not in b.costs or k.macs is None for k, b in zip(run, own, strict=True)]
    ops = [_with_share(op, total_ms) for op in ops]
    return Prediction(
        latency_ms=total_ms,
        spread=_spread(ops, own, unseen, profile.costs.unseen.spread),
        ops=tuple(sorted(ops, key=lambda op: -op.ms)),
        bounds={bound: sum(op.share for op in ops if op.bound == bound) for bound in BOUNDS},
        unseen_ops=tuple(sorted({k.op for k, new in zip(run, unseen, strict=True) if new})),
        error_percent=_error(own),
        notes=tuple(dict.fromkeys(note for b in _distinct(own) for note in _notes(b, batch))),
        bases=tuple(_distinct(own)),
    )


def _bases(kernels: Sequence[Kernel], profile: Profile, threads: int) -> list[Basis]:
    """Return what each kernel is predicted from.

    Fits are to whole models: what a model of int8 does in float between its integer kernels was measured with
    these. So kernels without MACs go by the data type that most MACs are in, where its fit saw their class.
    """
    bases = {dtype: basis(profile, dtype, threads) for dtype in dict.fromkeys(map(computing, kernels))}
    macs = {dtype: sum(k.macs or 0 for k in kernels if computing(k) == dtype) for dtype in bases}
    main = max(bases, key=lambda dtype: macs[dtype], default="")

    def choice(kernel: Kernel) -> Basis:
        follows = not kernel.macs and kernel.op_class in bases[main].costs
        return bases[main if follows else computing(kernel)]

    return [choice(kernel) for kernel in kernels]


def _times(run: Sequence[Kernel], own: Sequence[Basis], unseen: Mapping[str, float]) -> KernelTimes:
    """Return the times of all kernels, each by its own basis, in order."""
    columns = np.zeros((4, len(run)))
    for one in _distinct(own):
        mine = [index for index, b in enumerate(own) if b is one]
        part = [run[index] for index in mine]
        costs = {kernel.op_class: ClassCost(**unseen) for kernel in part} | dict(one.costs)
        found = kernel_times(part, costs, one.rates)
        columns[:, mine] = (found.total_s, found.compute_s, found.memory_s, found.overhead_s)
    return KernelTimes(*columns)


def _op_time(kernel: Kernel, times: KernelTimes, index: int) -> OpTime:
    parts = (times.compute_s[index], times.memory_s[index], times.overhead_s[index])
    bound = BOUNDS[int(np.argmax(parts))]
    ms, flops = float(times.total_s[index]) * MS, float(2 * kernel.macs if kernel.macs else kernel.elements)
    moved = float(kernel.traffic_bytes)
    return OpTime(kernel.name, kernel.op, kernel.op_class, ms, 0.0, bound, flops, moved)


def _streamed(run: Sequence[Kernel], profile: Profile) -> list[OpTime]:
    """Return the time of the weights that do not fit on the chip and come over its link at every run."""
    facts = profile.known.facts
    if facts.onchip_kib is None or facts.link_gb_per_s is None:
        return []
    beyond = sum(kernel.weight_bytes for kernel in run) - facts.onchip_kib * 1024
    if beyond <= 0:
        return []
    ms = beyond / (facts.link_gb_per_s * GIGA) * MS
    return [OpTime("weights that do not fit on the chip", "weights", "copy", ms, 0.0, "memory", 0.0, beyond)]


def _with_share(op: OpTime, total_ms: float) -> OpTime:
    return replace(op, share=op.ms / total_ms if total_ms else 0.0)


def _spread(
    ops: Sequence[OpTime], own: Sequence[Basis], unseen: Sequence[bool], unseen_spread: float
) -> float:
    """Return the deviation of the total's logarithm: what is known to first order, what is not on top.

    Kernels of one data type err together, as whole models do. What was never seen errs by itself. `ops` are
    in the order of the kernels; what is streamed comes after them and adds no doubt.
    """
    known = sum(op.share * b.spread for op, b in zip(ops, own, strict=False))
    new = sum(op.share for op, b, n in zip(ops, own, unseen, strict=False) if n or b.assumed)
    return hypot(known, new * unseen_spread)


def _distinct(own: Iterable[Basis]) -> list[Basis]:
    return list({id(one): one for one in own}.values())


def _error(own: Iterable[Basis]) -> float | None:
    errors = [None if one.assumed else one.error_percent for one in _distinct(own)]
    known = [error for error in errors if error is not None]
    return max(known) if known and len(known) == len(errors) else None


def _notes(one: Basis, batch: int) -> tuple[str, ...]:
    if one.batch is None or one.batch[0] <= batch <= one.batch[1]:
        return one.notes
    low, high = one.batch
    measured = f"batch {low}" if low == high else f"batches of {low} to {high}"
    return (*one.notes, f"batch {batch}: extrapolated, {measured} were measured")
