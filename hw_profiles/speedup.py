"""Predicted latency of a model before and after, and the speed-up with its interval."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import hypot
from typing import TYPE_CHECKING, Any

from onnx_pare.hw_profiles.prediction import interval
from onnx_pare.hw_profiles.workload import Forecast, Workload, forecast

if TYPE_CHECKING:
    from onnx_pare.hw_profiles.profiles import Profile


@dataclass(frozen=True)
class PairedForecast:
    """Two versions of a model on one profile.

    Attributes:
        before: What is predicted of the first.
        after: What is predicted of the second.
        same: Whether both run the same kernels: then there is no doubt that they take the same time.
    """

    before: Forecast
    after: Forecast
    same: bool

    @property
    def speedup(self) -> float:
        """Latency before over after; 1 where neither takes any time."""
        before, after = (one.prediction.latency_ms for one in (self.before, self.after))
        return before / after if after else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 80 % interval of the speed-up, the errors of the two predictions taken as independent.

        They seldom are, so that it is rather too wide than too narrow.
        """
        if self.same:
            return 1.0, 1.0
        spreads = (one.prediction.spread for one in (self.before, self.after))
        return interval(self.speedup, hypot(*spreads))

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the report's `latency` list; what is not of both is that of the second."""
        before, after = self.before.prediction, self.after.prediction
        return {
            "profile": self.after.profile.name,
            "kind": self.after.profile.kind,
            "before_ms": before.latency_ms,
            "after_ms": after.latency_ms,
            "speedup": self.speedup,
            "interval": list(self.interval),
            **self.after.to_json(),
            "unseen_ops": sorted({*before.unseen_ops, *after.unseen_ops}),
            "warnings": list(dict.fromkeys((*self.after.warnings, *before.notes))),
        }


def forecast_pair(before: Workload, after: Workload, profile: Profile, *, threads: int) -> PairedForecast:
    """Predict two versions of a model on a profile.

    Raises:
        ProfileError: The profile says nothing about its speed.
    """
    rules = profile.costs.fusion
    first, second = ([replace(kernel, name="") for kernel in work.kernels(rules)] for work in (before, after))
    return PairedForecast(
        forecast(before, profile, threads=threads),
        forecast(after, profile, threads=threads),
        same=first == second,
    )
