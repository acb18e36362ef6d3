"""Fits the predictor's parameters to measured latencies.

All are fitted as logarithms, by maximum a posteriori: the errors log(predicted / measured) weigh by a
pseudo-Huber loss, and every parameter has a normal prior. Class costs are shared by all runs, so that their
evidence is the number of distinct models, not that of rows: their prior weighs as many times as there are
runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.cost.op_classes import MAC_CLASSES
from onnx_pare.hw_profiles.predictor import CLASSES, ClassCost, KernelTimes, Rates, Work, times

if TYPE_CHECKING:
    from onnx_pare.cost.kernels import Kernel

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Booleans = np.ndarray[Any, np.dtype[np.bool_]]

# columns of a table of class costs
COMPUTE, MEMORY, WEIGHTS, LAUNCH, INNER, OUTER, ROWS = range(7)
# what a class costs before anything was measured, and how far it may be off (as a factor e^x)
CENTRE = np.log([1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 5.0])
SPREAD = np.array([1.0, 1.0, 0.7, 0.7, 1.5, 1.5, 1.5])
# how far the balance of compute, memory and launches may be off in a kind of runtime
MEAN_SPREAD = 1.0
# the logarithm of a term that does not count
NONE = -20.0
# what is left when all is right: models of one class of operators differ by about this much
NOISE = 0.1


@dataclass(frozen=True)
class Prior:
    """What is known before measuring, in logarithms.

    Attributes:
        table: Class costs, shape (classes, 7).
        table_spread: Their standard deviation, shape (7,); 0 keeps a column as it is.
        rates: F, B and o of each run, shape (runs, 3); None to start from the data.
        rates_spread: Standard deviation of F, B/F and o·F from those of `rates`; if that is None, of the last
            two from their means over all runs.
        factors: f of each class, shape (runs, classes).
        factor_spread: Their standard deviation, overall or for each class.
        memory_work, launch_work: MACs that could be done in the time of moving one byte, and of one launch,
            over all runs; where `rates` is None.
        fit_table: Whether class costs are fitted at all.
        table_weight: What their prior weighs, as a multiple of the number of runs.
    """

    table: Floats = field(default_factory=lambda: np.tile(CENTRE, (len(CLASSES), 1)))
    table_spread: Floats = field(default_factory=lambda: SPREAD)
    rates: Floats | None = None
    rates_spread: tuple[float, float, float] = (1.0, 1.0, 0.3)
    factors: Floats | None = None
    factor_spread: float = 0.2
    memory_work: float = 1.0
    launch_work: float = 3e5
    fit_table: bool = True
    table_weight: float = 1.0


@dataclass(frozen=True)
class Models:
    """The kernels of several models in one row, and where each model begins."""

    work: Work
    starts: np.ndarray[Any, np.dtype[np.int64]]
    owner: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def of(cls, models: Sequence[Sequence[Kernel]]) -> Models:
        """Gather the kernels of models, none of which may be empty."""
        lengths = [len(model) for model in models]
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        return cls(
            Work.of([kernel for model in models for kernel in model]),
            starts,
            np.repeat(np.arange(len(models)), lengths),
        )

    def sums(self, each: Floats) -> Floats:
        """Add up what belongs to one model; shape (…, kernels) becomes (…, models)."""
        return np.add.reduceat(each, self.starts, axis=-1)


@dataclass(frozen=True)
class Fitted:
    """Parameters as logarithms: class costs (classes, 7), rates (runs, 3), factors (runs, classes)."""

    table: Floats
    rates: Floats
    factors: Floats

    def seconds(self, models: Models) -> Floats:
        """Return the latency of every model in every run, shape (runs, models)."""
        return models.sums(self._times(models.work).total_s)

    def _times(self, work: Work) -> KernelTimes:
        return times(work, np.exp(self.table), np.exp(self.rates), np.exp(self.factors))

    def class_costs(self, seen: Sequence[str]) -> dict[str, ClassCost]:
        """Return the costs of these classes."""
        return {
            name: ClassCost(*(float(value) for value in np.exp(self.table[index])))
            for index, name in enumerate(CLASSES)
            if name in seen
        }

    def run(self, index: int, seen: Sequence[str]) -> Rates:
        """Return the rates of one run, with the factors of these classes."""
        work, memory, overhead = (float(value) for value in np.exp(self.rates[index]))
        row = np.exp(self.factors[index])
        factors = {name: float(row[i]) for i, name in enumerate(CLASSES) if name in seen}
        return Rates(work, memory, overhead, factors)


def fit(models: Models, seconds: Floats, prior: Prior | None = None, *, steps: int = 300) -> Fitted:
    """Fit to measured latencies.

    Args:
        models: What was measured.
        seconds: Latencies, shape (runs, models); NaN where a model was not measured in a run.
        prior: What is known before.
        steps: Iterations at most.
    """
    from scipy.optimize import minimize

    problem = _Problem(models, seconds, prior or Prior())
    found = minimize(
        problem.loss, problem.start(), jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxcor": 30}
    )
    return problem.split(found.x)


def _no_terms(name: str) -> list[int]:
    """Return the columns that cannot be told apart from c in a class, since they are constant there."""
    if name not in MAC_CLASSES:
        return [INNER, OUTER, ROWS]
    if name.startswith("depthwise"):
        return [INNER, OUTER]
    return [ROWS] if name == "fully_connected" else []


class _Problem:
    """The loss and its gradient, in one long vector of logarithms."""

    def __init__(self, models: Models, seconds: Floats, prior: Prior) -> None:
        self._models, self._prior = models, prior
        self._known = np.isfinite(seconds)
        self._log_seconds = np.log(np.where(self._known, seconds, 1.0))
        self._runs = len(seconds)
        table = prior.table.copy()
        for index, name in enumerate(CLASSES):
            table[index, _no_terms(name)] = NONE
        self._table = table
        self._rates = self._guess() if prior.rates is None else prior.rates
        self._factors = np.zeros((self._runs, len(CLASSES))) if prior.factors is None else prior.factors

    def _guess(self) -> Floats:
        """Start each run at the median of MACs per second, with traffic to match."""
        amounts = np.log(self._models.sums(self._models.work.amount))
        speed = np.array(
            [
                np.median((amounts - row)[known])
                for row, known in zip(self._log_seconds, self._known, strict=True)
            ]
        )
        overhead = np.log(self._prior.launch_work) - speed
        return np.stack([speed + 0.3, speed - np.log(self._prior.memory_work), overhead], axis=1)

    def start(self) -> Floats:
        return np.concatenate([self._table.ravel(), self._rates.ravel(), self._factors.ravel()])

    def split(self, vector: Floats) -> Fitted:
        table, rates = self._table.size, self._rates.size
        return Fitted(
            vector[:table].reshape(self._table.shape),
            vector[table : table + rates].reshape(self._rates.shape),
            vector[table + rates :].reshape(self._factors.shape),
        )

    def loss(self, vector: Floats) -> tuple[float, Floats]:
        now = self.split(vector)
        fit_loss, table, rates, factors = self._misfit(now)
        prior_loss = self._penalize(now, table, rates, factors)
        return fit_loss + prior_loss, np.concatenate([table.ravel(), rates.ravel(), factors.ravel()])

    def _misfit(self, now: Fitted) -> tuple[float, Floats, Floats, Floats]:
        """Return the pseudo-Huber loss of the errors in units of the noise, and its gradients."""
        models, work = self._models, self._models.work
        each = now._times(work)
        total = models.sums(each.total_s)
        error = np.where(self._known, np.log(total) - self._log_seconds, 0.0) / (NOISE / 2)
        root = np.sqrt(1 + error**2)
        loss = float((root - 1).sum()) / 4
        pull = (error / root / (NOISE / 2) / 4 / total)[:, models.owner]
        both = each.total_s - each.overhead_s
        safe = np.maximum(both, 1e-30)
        compute, memory = pull * each.compute_s**2 / safe, pull * each.memory_s**2 / safe
        overhead = pull * np.broadcast_to(each.overhead_s, both.shape)
        table = self._table_gradient(now, compute.sum(0), memory.sum(0), overhead.sum(0))
        rates = np.stack([-compute.sum(1), -memory.sum(1), overhead.sum(1)], axis=1)
        factors = np.zeros_like(self._factors)
        np.add.at(factors.T, work.op_class, (compute + memory).T)
        return loss, table, rates, factors

    def _table_gradient(self, now: Fitted, compute: Floats, memory: Floats, overhead: Floats) -> Floats:
        work = self._models.work
        _, m, w, _, a, b, s = np.exp(now.table)[work.op_class].T
        h = 1 + a * work.inner + b * work.outer + s * work.rows
        moved = np.maximum(work.activation_bytes * m + work.weight_bytes * w, 1e-30)
        columns = (
            compute,
            memory * work.activation_bytes * m / moved,
            memory * work.weight_bytes * w / moved,
            overhead,
            compute * a * work.inner / h,
            compute * b * work.outer / h,
            compute * s * work.rows / h,
        )
        return np.stack(
            [np.bincount(work.op_class, column, minlength=len(CLASSES)) for column in columns], axis=1
        )

    def _penalize(self, now: Fitted, table: Floats, rates: Floats, factors: Floats) -> float:
        """Add the priors' gradients in place, and return their loss."""
        prior = self._prior
        if prior.fit_table:
            spread = np.maximum(prior.table_spread, 1e-6)
            off = (now.table - self._table) / spread
            weight = prior.table_weight * self._runs
            table += weight * off / spread
            loss = 0.5 * weight * float((off**2).sum())
        else:
            table[:] = 0.0
            loss = 0.0
        off = (now.factors - self._factors) / prior.factor_spread
        factors += off / prior.factor_spread
        return loss + 0.5 * float((off**2).sum()) + self._penalize_rates(now.rates, rates)

    def _penalize_rates(self, now: Floats, gradient: Floats) -> float:
        spread = np.array(self._prior.rates_spread)
        if self._prior.rates is not None:
            off = now - self._rates
            # a device that is faster than expected is so in all: B follows F, and o goes the other way
            parts = np.stack([off[:, 0], off[:, 1] - off[:, 0], off[:, 2] + off[:, 0]], axis=1) / spread
            pulls = parts / spread
            gradient[:, 0] += pulls[:, 0] - pulls[:, 1] + pulls[:, 2]
            gradient[:, 1:] += pulls[:, 1:]
            return 0.5 * float((parts**2).sum())
        # of a device that is x times faster in all, B/F and o·F are what others have
        memory, launch = now[:, 1] - now[:, 0], now[:, 2] + now[:, 0]
        memory_loss, memory_pull = self._around(memory, -np.log(self._prior.memory_work), spread[1])
        launch_loss, launch_pull = self._around(launch, np.log(self._prior.launch_work), spread[2])
        gradient[:, 0] += launch_pull - memory_pull
        gradient[:, 1] += memory_pull
        gradient[:, 2] += launch_pull
        return memory_loss + launch_loss

    def _around(self, values: Floats, centre: float, spread: float) -> tuple[float, Floats]:
        """Draw each value to the mean of all, and that, as strongly as a class cost, to its centre."""
        off = (values - values.mean()) / spread
        mean = (values.mean() - centre) / MEAN_SPREAD
        weight = self._prior.table_weight
        loss = 0.5 * float((off**2).sum()) + 0.5 * weight * self._runs * mean**2
        return loss, off / spread + weight * mean / MEAN_SPREAD


def without(seconds: Floats, models: Booleans) -> Floats:
    """Return latencies with those of some models taken out."""
    kept = seconds.copy()
    kept[:, models] = np.nan
    return kept


def held_out(models: Models, seconds: Floats, groups: Sequence[str], prior: Prior, folds: int = 0) -> Floats:
    """Predict every model by a fit that saw none of its group, shape (runs, models).

    Args:
        models: What was measured.
        seconds: Latencies, shape (runs, models).
        groups: The group (family) of each model.
        prior: What is known before.
        folds: How many groups are held out together: the groups are dealt into so many; 0 for one at a time.
    """
    names = sorted(set(groups))
    of = np.array(groups)
    predicted = np.full(seconds.shape, np.nan)
    for start in range(folds or len(names)):
        out = np.isin(of, names[start :: folds or len(names)])
        predicted[:, out] = fit(models, without(seconds, out), prior).seconds(models)[:, out]
    return predicted
