"""Measures this machine on small networks in onnxruntime, and makes its profile of them.

Stacks of layers of one class and networks of well-known blocks are built, counted like any other model, and
timed; rates and factors of classes are fitted so that predictions of their total times hold (`rates_fit`).
What kinds of operators cost relative to each other in onnxruntime is not measured but ships with the package.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.bench.latency import WARM_SHARE, warm_up
from onnx_pare.bench.runner import Runner
from onnx_pare.bench.statistics import percentile
from onnx_pare.errors import ProfileError
from onnx_pare.graph.session import Feeds
from onnx_pare.hw_profiles.dtypes import MAIN, computing
from onnx_pare.hw_profiles.files import costs
from onnx_pare.hw_profiles.micro_networks import NETWORKS
from onnx_pare.hw_profiles.micro_stacks import STACKS
from onnx_pare.hw_profiles.micronet import Micro
from onnx_pare.hw_profiles.predictor import ClassCost, Rates
from onnx_pare.hw_profiles.rates_fit import Measured, fit_rates, left_out, predicted_s
from onnx_pare.progress import Progress, Silent

if TYPE_CHECKING:
    from onnx_pare.cost.kernels import Kernel

# seconds that a model takes: of a file, its input, a number of threads, and about how long to measure
Timer = Callable[[Path, Feeds, int, float], float]

RUNTIME, COSTS = "onnxruntime", "onnxruntime-cpu"
BUDGET_S = 60.0
# the float32 networks are measured first, with one thread; what they may take of the budget
MAIN_SHARE = 0.4
PASSES = 3
FEWEST_RUNS, MOST_RUNS, FASTEST_PERCENT = 3, 100, 10.0
# what is left for fitting and for the last network to end
MEASURING_SHARE = 0.95
# whole networks are what is predicted; stacks only tell classes apart
NETWORK_NOISE, STACK_NOISE = 0.04, 0.15
FEWEST_NETWORKS = 4
# where the fit starts; only the ratios matter: those of a server core with 512-bit vectors
START: Mapping[str, Rates] = {MAIN: Rates(60e9, 25e9, 4e-6), "int8": Rates(200e9, 25e9, 4e-6)}
# of a network's time, what may be taken for known
MOST_KNOWN = 0.9
# networks held out are like those fitted to; models out there differ by this much more at least
LEAST_SPREAD = 0.08


@dataclass(frozen=True)
class Calibrated:
    """What was found for one data type and number of threads.

    Attributes:
        dtype, threads: Which.
        rates: Fitted to all that was measured.
        errors: Network -> predicted / measured - 1, by a fit that did not see it.
        networks: How many networks were measured, stacks of layers included.
        spread: Standard deviation of log(measured / predicted) to expect.
    """

    dtype: str
    threads: int
    rates: Rates
    errors: Mapping[str, float]
    networks: int
    spread: float

    @property
    def error_percent(self) -> float:
        """Mean absolute error of the networks held out."""
        return 100 * float(np.mean(np.abs(list(self.errors.values()))))


@dataclass(frozen=True)
class Ready:
    """A network that was built, written and counted."""

    micro: Micro
    path: Path
    feeds: Feeds
    kernels: Sequence[Kernel]


def calibrate(
    *,
    threads: Sequence[int],
    dtypes: Sequence[str] | None = None,
    budget_s: float = BUDGET_S,
    timer: Timer | None = None,
    networks: Sequence[Micro] | None = None,
    stacks: Sequence[Micro] | None = None,
    progress: Progress | None = None,
) -> list[Calibrated]:
    """Measure this machine.

    Args:
        threads: Numbers of threads to measure with, each by itself.
        dtypes: Data types to measure, `float32` first; None for all whose costs are known.
        budget_s: How long it may take in all. Stacks are left out where time is short.
        timer: How a model is timed; None for onnxruntime.
        networks, stacks: What to measure; None for `NETWORKS` and `STACKS`.
        progress: Where to report.

    Raises:
        ProfileError: The budget was not enough for the networks.
    """
    networks, stacks = networks or NETWORKS, STACKS if stacks is None else stacks
    deadline = time.perf_counter() + budget_s * MEASURING_SHARE
    runs = [(dtype, number) for number in threads for dtype in dtypes or costs(COSTS).classes]
    found: list[Calibrated] = []
    with tempfile.TemporaryDirectory() as folder, (progress or Silent()).task("calibrating", None) as advance:
        prepared: dict[str, list[Ready]] = {}
        for index, (dtype, number) in enumerate(runs):
            left = deadline - time.perf_counter()
            share = MAIN_SHARE if index == 0 and len(runs) > 1 else 1 / (len(runs) - index)
            end = time.perf_counter() + left * share
            if dtype not in prepared:
                prepared[dtype] = prepare(dtype, [*networks, *stacks], Path(folder))
            times = _measure(prepared[dtype], number, end, timer or fastest_s)
            advance(1)
            floats = next((one.rates for one in found if one.threads == number), None)
            found.append(_fitted(dtype, number, prepared[dtype], times, networks, floats))
    return found


def prepare(dtype: str, micros: Sequence[Micro], folder: Path) -> list[Ready]:
    """Build, write and count those networks that are measured in a data type."""
    import onnx
    import onnx_ir as ir

    from onnx_pare.cost.count import count
    from onnx_pare.cost.kernels import kernels
    from onnx_pare.graph.shapes import infer

    integers, ready = dtype == "int8", []
    for index, micro in enumerate(one for one in micros if one.integers or not integers):
        proto, feeds = micro.build(integers=integers)
        path = folder / f"{dtype}-{index}.onnx"
        onnx.save(proto, path)
        model = ir.serde.deserialize_model(proto)
        shapes = infer(model, {"input": micro.shape})
        ready.append(Ready(micro, path, feeds, kernels(model, shapes, count(model, shapes), COSTS)))
    return ready


def _measure(ready: Sequence[Ready], threads: int, end: float, timer: Timer) -> dict[str, float]:
    """Return network -> seconds, of as many as there is time for.

    All are timed several times over, and the fastest time counts: what else runs comes and goes.
    """
    times: dict[str, float] = {}
    timings = list(ready) * PASSES
    for index, one in enumerate(timings):
        left = end - time.perf_counter()
        again = one.micro.name in times
        if left <= 0 and (again or len(times) >= FEWEST_NETWORKS):
            break
        seconds = timer(one.path, one.feeds, threads, max(left, 0.0) / (len(timings) - index))
        times[one.micro.name] = min(seconds, times.get(one.micro.name, seconds))
    return times


def fastest_s(path: Path, feeds: Feeds, threads: int, budget_s: float) -> float:
    """Return the fastest tenth of a model's times, in CPU time where one thread works.

    Other programs only make it slower.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    end = time.perf_counter() + budget_s
    runner = Runner(path, threads=threads)
    warm_up(lambda: runner.run(feeds), budget_s * WARM_SHARE)
    times: list[float] = []
    while len(times) < FEWEST_RUNS or (len(times) < MOST_RUNS and time.perf_counter() < end):
        start = clock()
        runner.run(feeds)
        times.append(clock() - start)
    return percentile(np.array(times), FASTEST_PERCENT)


def class_costs(dtype: str) -> dict[str, ClassCost]:
    """Return what classes of operators cost in onnxruntime, relative to each other."""
    table = costs(COSTS).table(dtype) or {}
    return {name: ClassCost(**cost.model_dump()) for name, cost in table.items()}


def _fitted(
    dtype: str,
    threads: int,
    ready: Sequence[Ready],
    times: Mapping[str, float],
    networks: Sequence[Micro],
    floats: Rates | None,
) -> Calibrated:
    whole = {micro.name for micro in networks}
    measured = [
        _split(
            one,
            times[one.micro.name],
            dtype,
            floats,
            NETWORK_NOISE if one.micro.name in whole else STACK_NOISE,
        )
        for one in ready
        if one.micro.name in times
    ]
    seen = [one for one in measured if one.name in whole]
    if len(seen) < FEWEST_NETWORKS:
        raise ProfileError("too little time to measure this machine", hint="Give it a larger --budget.")
    table = class_costs(dtype)
    names = [one.name for one in seen]
    errors = dict(zip(names, left_out(measured, seen, table, START[dtype]), strict=True))
    logs = np.log1p(list(errors.values()))
    spread = max(LEAST_SPREAD, float(np.sqrt(np.mean(logs**2))))
    return Calibrated(dtype, threads, fit_rates(measured, table, START[dtype]), errors, len(measured), spread)


def _split(one: Ready, seconds: float, dtype: str, floats: Rates | None, noise: float) -> Measured:
    """Take out of a network what is predicted as another data type, as `predict` does."""
    classes = class_costs(dtype)
    own: list[Kernel] = []
    rest: list[Kernel] = []
    for kernel in one.kernels:
        follows = not kernel.macs and kernel.op_class in classes
        (own if follows or computing(kernel) == dtype else rest).append(kernel)
    known_s = predicted_s(rest, class_costs(MAIN), floats) if floats is not None else 0.0
    return Measured(one.micro.name, own, seconds, min(known_s, MOST_KNOWN * seconds), noise)
