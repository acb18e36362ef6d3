"""Timing several forms of one model against it, in turn, on this machine.

With one thread it is the thread's processor time that counts: what other programs take from it in between
does not, and on a quiet machine the two are the same. With several threads it is the time that passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.bench.latency import time_in_turn
from onnx_pare.bench.runner import Runner
from onnx_pare.bench.statistics import Floats, Interval, half_width, median, median_interval
from onnx_pare.graph.session import Feeds
from onnx_pare.progress import Advance

if TYPE_CHECKING:
    import onnx_ir as ir

# rounds of one race at most, and how narrow the interval of every speed-up must be to end it earlier
ROUNDS, NARROW = 40, 0.015
# files of at most this size, together, are loaded at one time: the original, and as many as fit beside it
LOADED_BYTES = 1 << 30


@dataclass(frozen=True)
class Timing:
    """How fast one form of a model is.

    Attributes:
        latency_ms: Median of its timings.
        ratios: Original over this form, one per round; above 1 where this form is faster.
    """

    latency_ms: float
    ratios: Floats

    @property
    def speedup(self) -> float:
        """Median of the ratios."""
        return median(self.ratios)

    def interval(self, seed: int) -> Interval:
        """Return the 95 % bootstrap interval of the speed-up."""
        return median_interval(self.ratios, seed)


# times the models at these paths in turn, within seconds; returns ms, shape (rounds, paths)
Stopwatch = Callable[[Sequence[Path], float], Floats]


def stopwatch(feeds: Feeds, *, threads: int, seed: int, advance: Advance = lambda steps: None) -> Stopwatch:
    """Return what times models in turn on `feeds`, the first path being the original."""

    def measure(paths: Sequence[Path], budget_s: float) -> Floats:
        runners = [Runner(path, threads=threads) for path in paths]
        times_ms = time_in_turn(
            [lambda runner=runner: runner.run(feeds) for runner in runners],  # type: ignore[misc]
            enough=lambda ms: all(half_width(ms[:, 0] / form, seed) <= NARROW for form in ms[:, 1:].T),
            runs=ROUNDS,
            budget_s=budget_s,
            clock=time.thread_time if threads == 1 else time.perf_counter,
        )
        advance(len(paths) - 1)
        return times_ms

    return measure


def race(original: Path, forms: Sequence[Path], measure: Stopwatch, budget_s: float) -> list[Timing]:
    """Time each form against the original and return one Timing each, in order.

    All run in turn with each other where their files, loaded at one time, are not too large; else in several
    heats, each with the original, whose ratios can still be compared.
    """
    found: list[Timing] = []
    heats = list(_heats(original, forms))
    for heat in heats:
        times_ms = measure([original, *heat], budget_s * len(heat) / max(1, len(forms)))
        found += [Timing(median(form), times_ms[:, 0] / form) for form in times_ms[:, 1:].T]
    return found


def _heats(original: Path, forms: Sequence[Path]) -> Iterator[list[Path]]:
    heat: list[Path] = []
    loaded = original.stat().st_size
    for form in forms:
        size = form.stat().st_size
        if heat and loaded + size > LOADED_BYTES:
            yield heat
            heat, loaded = [], original.stat().st_size
        heat.append(form)
        loaded += size
    if heat:
        yield heat


@contextmanager
def written(models: Iterable[ir.Model], folder: Path) -> Iterator[list[Path]]:
    """Write models as files while the context lasts, one after the other so that one at a time is in memory.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.
    """
    import tempfile

    from onnx_pare.graph.save import write_model

    with tempfile.TemporaryDirectory(prefix="placements-", dir=folder) as inner:
        paths = []
        for number, model in enumerate(models):
            paths.append(Path(inner) / f"{number}.onnx")
            write_model(model, paths[-1])
        yield paths
