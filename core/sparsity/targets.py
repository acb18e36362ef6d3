"""Ranks that meet a target: a share of the MACs, of the measured latency, or as cheap as an error allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_pare.sparsity.choosing import Candidate, Choice, choose
from onnx_pare.sparsity.substitution import Kind, Means, replace

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.sparsity.prices import Prices

# times that a budget of latency is tightened before the smallest ranks are taken
ATTEMPTS = 4


class UnreachableError(Exception):
    """A target cannot be met.

    Attributes:
        least: What can be: after / before.
    """

    def __init__(self, least: float) -> None:
        super().__init__(f"no less than {least:.3g}")
        self.least = least


@dataclass
class Targets:
    """Finds ranks for some layers of a model.

    Attributes:
        model: The model.
        kind: The kind of replacement.
        candidates: The layers, at least one.
        factors: Error of the model's outputs for an error of 1 of each layer's (`choosing.weigh`).
        means: What to measure with.
        latency_ratio: What was measured last.
    """

    model: ir.Model
    kind: Kind
    candidates: Sequence[Candidate]
    factors: Mapping[str, float]
    means: Means
    latency_ratio: float = field(default=math.nan, init=False)

    def within_error(self, max_error: float) -> dict[str, int]:
        """Return the ranks with the fewest MACs whose errors add up to no more than that."""
        return choose(self.candidates, self.factors, prices=_macs, budget=None, max_error=max_error) or {}

    def within_macs(self, ratio: float, total: int) -> dict[str, int]:
        """Return the ranks of least error for that share of `total`, the model's multiply-accumulates.

        Raises:
            UnreachableError: The layers have less to give.
        """
        fixed = total - sum(candidate.macs for candidate in self.candidates)
        found = choose(self.candidates, self.factors, prices=_macs, budget=ratio * total - fixed)
        if found is None:
            raise UnreachableError((fixed + sum(each.choices[0].macs for each in self.candidates)) / total)
        return found

    def within_latency(self, ratio: float, prices: Prices) -> dict[str, int]:
        """Return ranks with which the model as a whole is measured to take that share of its time.

        Times of layers alone do not add up to that of the model: what is lacking tightens the budget.

        Raises:
            UnreachableError: The fastest ranks are not as fast.
        """
        layers_ms = sum(prices(candidate, None) for candidate in self.candidates)
        fastest = {
            each.name: min(each.choices, key=lambda one: prices(each, one)).rank for each in self.candidates
        }
        before_ms = self._measure(fastest, prices)
        if self.latency_ratio > ratio:
            raise UnreachableError(self.latency_ratio)
        allowed = ratio
        for _ in range(ATTEMPTS):
            budget = layers_ms - (1 - allowed) * before_ms
            found = choose(self.candidates, self.factors, prices=prices, budget=budget)
            if found is None:
                break
            self._measure(found, prices)
            if self.latency_ratio <= ratio:
                return found
            allowed -= self.latency_ratio - ratio
        self._measure(fastest, prices)
        return fastest

    def _measure(self, ranks: Mapping[str, int], prices: Prices) -> float:
        """Note the latency with these ranks as a share of the model's, and return the model's in ms."""
        changed = self.model.clone()
        replace(changed, self.kind, ranks, self.means, fitted=False)
        feeds, _ = next(self.means.samples.batches(1))
        before_ms, self.latency_ratio = prices.compare(self.model, changed, feeds)
        return before_ms


def _macs(candidate: Candidate, choice: Choice | None) -> float:
    return candidate.macs if choice is None else choice.macs
