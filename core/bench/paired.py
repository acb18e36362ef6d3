"""How long a model takes on this machine against another one.

Two models are timed in turn, one timing of each per round, and every other round starts with the other one.
What disturbs the machine for a while (another program, a lower clock rate) then hits both, and drops out of
the ratio of the two timings of a round. The speed-up is the median of these ratios, before over after: it is
not exactly the ratio of the two median latencies, but it is steadier where the machine is not quiet.

Large models (`graph.runnable`) are never loaded at one time. They are timed one after the other: half of the
timings of the first model, all of the second, the other half of the first. What drifts slowly (a clock rate)
then still hits both; what comes and goes does not. Weights that onnxruntime restores as it loads are restored
before (`restored`).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnx_pare.bench.latency import NARROW, Latency, latency_of, time_in_turn
from onnx_pare.bench.restored import restored
from onnx_pare.bench.runner import Runner
from onnx_pare.bench.statistics import Floats, Interval, half_width, median, median_interval
from onnx_pare.graph.lean import parse_lean
from onnx_pare.graph.protos import nodes
from onnx_pare.graph.runnable import is_large
from onnx_pare.graph.session import Feeds
from onnx_pare.processes import give_back
from onnx_pare.progress import Advance, Progress, Silent

APART = (
    "too large to be held at one time: the models were timed one after the other, not in turn, and a busy "
    "machine may have slowed one of them"
)
# it lays out the weights of convolutions anew, and holds them twice
LAYOUT = "NchwcTransformer"
PLAIN = (
    f"large convolutions were timed without onnxruntime's {LAYOUT}, which would hold their weights twice; "
    "with it they may be faster"
)


@dataclass(frozen=True)
class PairedLatency:
    """Measured latency of two models.

    Attributes:
        before: Latency of the first.
        after: Latency of the second.
        speedup: Median over the rounds of before / after; above 1 where the second is faster.
        interval: 95 % bootstrap interval of the speed-up.
        runs: Rounds, each one timing of both.
        threads: Threads inside one operator.
        warnings: What the user should know of how it was measured, one sentence each.
    """

    before: Latency
    after: Latency
    speedup: float
    interval: Interval
    runs: int
    threads: int
    warnings: tuple[str, ...] = ()

    def to_json(self, profile: str = "local") -> dict[str, Any]:
        """Return the entry of the report's `latency` list."""
        entry = {
            "profile": profile,
            "kind": "measured",
            "before_ms": self.before.median_ms,
            "after_ms": self.after.median_ms,
            "speedup": self.speedup,
            "interval": list(self.interval),
            "threads": self.threads,
            "runs": self.runs,
            "unseen_ops": [],
        }
        return entry | ({"warnings": list(self.warnings)} if self.warnings else {})


def measure_pair(
    before: Path,
    after: Path,
    feeds: Feeds,
    *,
    threads: int = 1,
    runs: int = 50,
    budget_s: float = 20.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> PairedLatency:
    """Measure two models with the same inputs in turn, and the speed-up from the first to the second.

    Stops when the interval of the speed-up is within ±2 %, after `runs` rounds, or when `budget_s` is spent.
    Large models are timed one after the other, with a warning.

    Raises:
        ModelError: onnxruntime does not load or run one of the models.
    """
    with (progress or Silent()).task(f"timing {before.name} and {after.name}", runs) as advance:
        if is_large(before, after):
            return _apart(before, after, _Apart(feeds, threads, runs, budget_s / 2, seed, advance))
        runners = [Runner(path, threads=threads) for path in (before, after)]
        times_ms = time_in_turn(
            [lambda: runners[0].run(feeds), lambda: runners[1].run(feeds)],
            enough=lambda ms: half_width(ms[:, 0] / ms[:, 1], seed) <= NARROW,
            runs=runs,
            budget_s=budget_s,
            advance=advance,
        )
    return pair(times_ms, threads, seed)


def _apart(before: Path, after: Path, clock: _Apart) -> PairedLatency:
    convolutions = any(node.op_type == "Conv" for path in (before, after) for node in nodes(parse_lean(path)))
    without = (LAYOUT,) if convolutions else ()
    with tempfile.TemporaryDirectory(prefix="onnx-pare-") as folder:
        loaded = restored(before, Path(folder)), restored(after, Path(folder))
        found = pair(clock.times_ms(*loaded, without), clock.threads, clock.seed)
    return replace(found, warnings=(APART, PLAIN) if convolutions else (APART,))


@dataclass(frozen=True)
class _Apart:
    """Times models one after the other, `runs` times or for `budget_s` each."""

    feeds: Feeds
    threads: int
    runs: int
    budget_s: float
    seed: int
    advance: Advance

    def times_ms(self, before: Path, after: Path, without: Sequence[str]) -> Floats:
        """Return timings of both models, shape (rounds, 2)."""
        first = self._time(before, without, 0.5)
        second = self._time(after, without, 1.0)
        first = np.concatenate([first, self._time(before, without, 0.5)])
        rounds = min(len(first), len(second))
        self.advance(self.runs)
        return np.stack([_spread(first, rounds), _spread(second, rounds)], axis=1)

    def _time(self, path: Path, without: Sequence[str], share: float) -> Floats:
        give_back()  # what the model before has left
        runner = Runner(path, threads=self.threads, without=without)
        times_ms = time_in_turn(
            [lambda: runner.run(self.feeds)],
            enough=lambda ms: half_width(ms[:, 0], self.seed) <= NARROW,
            runs=math.ceil(self.runs * share),
            budget_s=self.budget_s * share,
        )
        timings: Floats = times_ms[:, 0]
        return timings


def _spread(timings: Floats, count: int) -> Floats:
    """Return so many of the timings, taken evenly from all."""
    chosen: Floats = timings[np.linspace(0, len(timings) - 1, count).round().astype(int)]
    return chosen


def pair(times_ms: Floats, threads: int, seed: int = 0) -> PairedLatency:
    """Return what timings of two models say; `times_ms` has shape (rounds, 2)."""
    ratios = times_ms[:, 0] / times_ms[:, 1]
    return PairedLatency(
        before=latency_of(times_ms[:, 0], threads, seed),
        after=latency_of(times_ms[:, 1], threads, seed),
        speedup=median(ratios),
        interval=median_interval(ratios, seed),
        runs=len(ratios),
        threads=threads,
    )
