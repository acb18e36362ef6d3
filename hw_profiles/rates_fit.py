"""Fits a machine's rates to measured networks, with the costs of classes of operators as they are known.

What is looked for are logarithms: of F, B, o, and of the factor of each class that was measured. They
minimize

    Σ ρ( log(predicted / measured) / σ ) + Σ ( (x - x₀) / s )²

(maximum a posteriori), ρ(e) = 2 (√(1 + e²) - 1), which forgives single bad timings. Solved by the
Levenberg-Marquardt method, ρ by reweighting (Nocedal and Wright, "Numerical Optimization", 2006, 10.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.hw_profiles.predictor import CLASSES, ClassCost, Rates, Work, cost_table, factor_row, times

if TYPE_CHECKING:
    from onnx_pare.cost.kernels import Kernel

    Floats = np.ndarray[Any, np.dtype[np.float64]]

# standard deviations of the logarithms: of F, B, o from where they start, and of factors from 1
RATES_SPREAD, FACTOR_SPREAD = (2.0, 0.7, 0.7), 0.25
STEPS, DAMPING = 60, 1e-3


@dataclass(frozen=True)
class Measured:
    """A network that was measured.

    Attributes:
        name: What it is called.
        kernels: What it was counted as.
        seconds: How long it takes.
        known_s: The part of it that is known: of kernels in other data types.
        noise: Standard deviation of log(predicted / measured) if all is right.
    """

    name: str
    kernels: Sequence[Kernel]
    seconds: float
    known_s: float = 0.0
    noise: float = 0.1


def fit_rates(measured: Sequence[Measured], costs: Mapping[str, ClassCost], start: Rates) -> Rates:
    """Return the rates and factors that fit best.

    Args:
        measured: Networks; those without kernels are left out.
        costs: Class -> cost. Factors are fitted for the classes that were measured.
        start: What F, B and o are relative to each other if nothing says otherwise; how fast the machine is
            as a whole is taken from the networks.
    """
    problem = _Problem([one for one in measured if one.kernels], costs, start)
    point, loss = problem.start, np.inf
    damping = DAMPING
    for _ in range(STEPS):
        residuals, jacobian = problem.linearized(point)
        normal = jacobian.T @ jacobian
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -jacobian.T @ residuals)
        loss, candidate = problem.loss(point), problem.loss(point + step)
        if candidate < loss:
            point, damping = point + step, damping / 3
            if loss - candidate < 1e-9 * loss:
                break
        else:
            damping *= 5
    return problem.rates(point)


def predicted_s(kernels: Sequence[Kernel], costs: Mapping[str, ClassCost], rates: Rates) -> float:
    """Return the time of some kernels."""
    if not kernels:
        return 0.0
    row = np.array([rates.work_per_s, rates.bytes_per_s, rates.overhead_s])
    return float(times(Work.of(kernels), cost_table(costs), row, factor_row(rates.factors)).total_s.sum())


def left_out(
    measured: Sequence[Measured], chosen: Sequence[Measured], costs: Mapping[str, ClassCost], start: Rates
) -> list[float]:
    """Return predicted / measured - 1 of each of the chosen networks, by a fit to all measured but itself."""
    errors = []
    for one in chosen:
        rates = fit_rates([other for other in measured if other is not one], costs, start)
        errors.append((one.known_s + predicted_s(one.kernels, costs, rates)) / one.seconds - 1)
    return errors


class _Problem:
    """Residuals over (log F, log B, log o, log factors), and their derivatives."""

    def __init__(self, measured: Sequence[Measured], costs: Mapping[str, ClassCost], start: Rates) -> None:
        every = [kernel for one in measured for kernel in one.kernels]
        work = Work.of(every)
        unit = times(work, cost_table(costs), np.ones(3), np.ones(len(CLASSES)))
        self._parts = (unit.compute_s, unit.memory_s, unit.overhead_s)
        self._owner = np.repeat(np.arange(len(measured)), [len(one.kernels) for one in measured])
        self._classes, self._class = np.unique(work.op_class, return_inverse=True)
        self._measured = np.log([one.seconds for one in measured])
        self._known = np.array([one.known_s for one in measured])
        self._noise = np.array([one.noise for one in measured])
        faster = self._speed(start)
        rates = np.log([start.work_per_s, start.bytes_per_s, 1 / start.overhead_s]) + faster
        self.start = np.concatenate([rates * (1, 1, -1), np.zeros(len(self._classes))])
        self._spread = np.array([*RATES_SPREAD, *[FACTOR_SPREAD] * len(self._classes)])

    def _speed(self, start: Rates) -> float:
        """Return the median logarithm of how much faster than `start` the networks ran."""
        row = np.log([start.work_per_s, start.bytes_per_s, start.overhead_s])
        each = self._seconds(np.concatenate([row, np.zeros(len(self._classes))]))[0]
        return float(np.median(np.log(self._sums(each) + self._known) - self._measured))

    def rates(self, point: Floats) -> Rates:
        """Return what a point stands for."""
        work, memory, overhead = (float(value) for value in np.exp(point[:3]))
        factors = {CLASSES[c]: float(f) for c, f in zip(self._classes, np.exp(point[3:]), strict=True)}
        return Rates(work, memory, overhead, factors)

    def loss(self, point: Floats) -> float:
        """Return what is minimized."""
        error = self._errors(self._sums(self._seconds(point)[0]))
        off = (point - self.start) / self._spread
        return float((2 * (np.sqrt(1 + error**2) - 1)).sum() + (off**2).sum())

    def linearized(self, point: Floats) -> tuple[Floats, Floats]:
        """Return reweighted residuals, those of the priors last, and their derivatives."""
        each, compute, memory, overhead = self._seconds(point)
        total = self._sums(each)
        error = self._errors(total)
        weight = (1 + error**2) ** -0.25
        columns = [-self._sums(compute), -self._sums(memory), self._sums(overhead)]
        moved = compute + memory
        columns += [
            self._sums(np.where(self._class == index, moved, 0)) for index in range(len(self._classes))
        ]
        scale = weight / self._noise / (total + self._known)
        prior = np.diag(1 / self._spread)
        residuals = np.concatenate([weight * error, (point - self.start) / self._spread])
        return residuals, np.concatenate([np.stack(columns, axis=1) * scale[:, None], prior])

    def _errors(self, total: Floats) -> Floats:
        errors: Floats = (np.log(total + self._known) - self._measured) / self._noise
        return errors

    def _seconds(self, point: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return each kernel's time, and its derivatives by the logarithms of its three parts."""
        factor = np.exp(point[3:])[self._class]
        compute = self._parts[0] * factor * np.exp(-point[0])
        memory = self._parts[1] * factor * np.exp(-point[1])
        overhead = self._parts[2] * np.exp(point[2])
        both = np.hypot(compute, memory)
        safe = np.maximum(both, 1e-30)
        return overhead + both, compute**2 / safe, memory**2 / safe, overhead

    def _sums(self, each: Floats) -> Floats:
        sums: Floats = np.zeros(len(self._measured))
        np.add.at(sums, self._owner, each)
        return sums
