"""How long calls take on this machine: one model alone, or several in turn (`paired`).

The time of a call includes what `InferenceSession.run` does for a Python user: feeds and outputs are numpy
arrays.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnx_pare.bench.runner import Runner
from onnx_pare.bench.statistics import Floats, Interval, half_width, median, median_interval, percentile
from onnx_pare.bench.turns import alone
from onnx_pare.graph.session import Feeds
from onnx_pare.progress import Advance, Progress, Silent

Call = Callable[[], object]
Clock = Callable[[], float]

# a timing lasts at least this long; a faster model is called several times in a row, and the median counts: a
# call that another program interrupted (a time slice is a few ms) then does not. Twenty rounds last half a
# second or more: what else runs on a machine and its host comes and goes within tenths of one
TIMING_S = 1e-2
# warm-up ends when the last three calls lie this close together, or after this many
WARM_SPREAD, WARM_CALLS = 1.1, 20
# share of the time budget that warming up one model may take
WARM_SHARE = 0.1
# the interval is narrow enough from ±2 % on, looked at every few rounds, not before this many
NARROW, LOOK_EVERY, ENOUGH_ROUNDS = 0.02, 5, 20
# a spent budget ends the measurement, but not before this many rounds
FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Latency:
    """Measured latency of one model.

    Attributes:
        median_ms: Median over all timings.
        p90_ms: 90th percentile.
        interval_ms: 95 % bootstrap interval of the median.
        runs: Timings taken. Each is the median of several calls for a model faster than 10 ms.
        threads: Threads inside one operator.
    """

    median_ms: float
    p90_ms: float
    interval_ms: Interval
    runs: int
    threads: int


def measure(
    path: Path,
    feeds: Feeds,
    *,
    threads: int = 1,
    runs: int = 50,
    budget_s: float = 10.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Latency:
    """Measure the latency of the model at `path` on `feeds`.

    Stops when the interval of the median is within ±2 %, after `runs` timings, or when `budget_s` is spent.

    Raises:
        ModelError: onnxruntime does not load or run the model.
    """
    runner = Runner(path, threads=threads)
    with (progress or Silent()).task(f"timing {path.name}", runs) as advance:
        times_ms = time_in_turn(
            [lambda: runner.run(feeds)],
            enough=lambda ms: half_width(ms[:, 0], seed) <= NARROW,
            runs=runs,
            budget_s=budget_s,
            advance=advance,
        )
    return latency_of(times_ms[:, 0], threads, seed)


def latency_of(times_ms: Floats, threads: int, seed: int) -> Latency:
    """Return what timings of one model say, shape (n,)."""
    return Latency(
        median_ms=median(times_ms),
        p90_ms=percentile(times_ms, 90),
        interval_ms=median_interval(times_ms, seed),
        runs=len(times_ms),
        threads=threads,
    )


def time_in_turn(
    calls: Sequence[Call],
    *,
    enough: Callable[[Floats], bool],
    runs: int,
    budget_s: float,
    advance: Advance = lambda steps: None,
    clock: Clock = time.perf_counter,
) -> Floats:
    """Warm the calls up, then time them in turn, and return ms per call, shape (rounds, len(calls)).

    Waits first until no other worker of a batch measures, see `turns`.

    Args:
        calls: What to time.
        enough: Whether the timings so far, shape (rounds, len(calls)), will do.
        runs: Rounds at most.
        budget_s: Time at most, warm-up included; at least three rounds are run all the same.
        advance: Told of every round, and at the end of those that were not needed.
        clock: Seconds from any start.
    """
    rounds: list[list[float]] = []
    with alone():
        deadline = clock() + budget_s
        repeats = [_repeats(warm_up(call, budget_s * WARM_SHARE, clock)) for call in calls]
        while len(rounds) < runs and not _done(rounds, enough, late=clock() >= deadline):
            times_ms = [0.0] * len(calls)
            for index in _order(len(calls), turned=len(rounds) % 2 == 1):
                times_ms[index] = _time_ms(calls[index], repeats[index], clock)
            rounds.append(times_ms)
            advance(1)
        advance(runs - len(rounds))
    return np.array(rounds)


def warm_up(call: Call, budget_s: float, clock: Clock = time.perf_counter) -> float:
    """Call until the times settle, and return seconds per call.

    Three calls at least, then until the last three lie within 10 % of each other or 20 calls are made. A
    spent budget ends it earlier: a model so slow that one call spends it is called once.
    """
    start, times = clock(), [_time_ms(call, 1, clock) / 1e3]
    while len(times) < WARM_CALLS and clock() - start < budget_s:
        last = times[-3:]
        if len(last) == 3 and max(last) <= WARM_SPREAD * min(last):
            break
        times.append(_time_ms(call, 1, clock) / 1e3)
    return median(np.array(times[-3:]))


def _repeats(call_s: float) -> int:
    return max(1, math.ceil(TIMING_S / max(call_s, 1e-7)))


def _done(rounds: Sequence[Sequence[float]], enough: Callable[[Floats], bool], *, late: bool) -> bool:
    count = len(rounds)
    if late and count >= FEWEST_ROUNDS:
        return True
    return count >= ENOUGH_ROUNDS and count % LOOK_EVERY == 0 and enough(np.array(rounds))


def _order(count: int, *, turned: bool) -> Sequence[int]:
    return range(count)[::-1] if turned else range(count)


def _time_ms(call: Call, repeats: int, clock: Clock) -> float:
    times_s = np.empty(repeats)
    for index in range(repeats):
        start = clock()
        call()
        times_s[index] = clock() - start
    return median(times_s) * 1e3
