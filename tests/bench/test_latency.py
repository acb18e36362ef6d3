"""The timing logic on a clock of its own; the one test on the real runtime asserts no time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from onnx_pare.bench.latency import measure, time_in_turn, warm_up
from onnx_pare.errors import ModelError


class Machine:
    """A clock that only advances while a call runs."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.log: list[str] = []

    def clock(self) -> float:
        return self.now_s

    def call(self, name: str, times_ms: Callable[[int], float]) -> Callable[[], None]:
        """Return a call whose n-th run takes `times_ms(n)`."""
        runs = 0

        def run() -> None:
            nonlocal runs
            self.log.append(name)
            self.now_s += times_ms(runs) / 1e3
            runs += 1

        return run


@pytest.fixture
def machine() -> Machine:
    return Machine()


def never(times_ms: np.ndarray) -> bool:
    return False


def always(times_ms: np.ndarray) -> bool:
    return True


def take(machine: Machine, calls: Sequence[Callable[[], None]], **options: object) -> np.ndarray:
    given = {"enough": never, "runs": 20, "budget_s": 100.0} | options
    return time_in_turn(calls, clock=machine.clock, **given)


def test_every_other_round_starts_with_the_other_model(machine: Machine) -> None:
    calls = [machine.call("a", lambda n: 10.0), machine.call("b", lambda n: 20.0)]
    times_ms = take(machine, calls, runs=4)
    assert machine.log[-8:] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    np.testing.assert_allclose(times_ms, [[10, 20]] * 4)


def test_warm_up_runs_three_times_when_it_is_steady(machine: Machine) -> None:
    assert warm_up(machine.call("a", lambda n: 10.0), 10.0, machine.clock) == pytest.approx(0.010)
    assert machine.log == ["a"] * 3


def test_warm_up_goes_on_until_the_times_settle(machine: Machine) -> None:
    settling = machine.call("a", lambda n: max(10.0, 100.0 - 20 * n))
    assert warm_up(settling, 10.0, machine.clock) == pytest.approx(0.010)
    assert len(machine.log) == 8


def test_warm_up_gives_up_on_a_restless_machine(machine: Machine) -> None:
    warm_up(machine.call("a", lambda n: 10.0 * (1 + n % 2)), 10.0, machine.clock)
    assert len(machine.log) == 20


def test_warm_up_of_a_slow_model_ends_with_its_budget(machine: Machine) -> None:
    warm_up(machine.call("a", lambda n: 5000.0), 2.0, machine.clock)
    assert machine.log == ["a"]


def test_a_fast_model_is_called_several_times_per_timing(machine: Machine) -> None:
    times_ms = take(machine, [machine.call("a", lambda n: 0.125)], runs=5)
    np.testing.assert_allclose(times_ms, 0.125)
    assert len(machine.log) == 3 + 5 * 80


def test_a_fast_call_that_is_interrupted_does_not_count(machine: Machine) -> None:
    calls = [machine.call("a", lambda n: 40.0 if n % 10 == 9 else 1.0)]
    np.testing.assert_allclose(take(machine, calls, runs=5), 1.0)


def test_it_stops_when_the_interval_will_do_but_not_before_twenty_rounds(machine: Machine) -> None:
    assert len(take(machine, [machine.call("a", lambda n: 5.0)], enough=always, runs=50)) == 20


def test_runs_is_the_most_rounds(machine: Machine) -> None:
    assert len(take(machine, [machine.call("a", lambda n: 5.0)], runs=7)) == 7


def test_a_spent_budget_ends_it_after_three_rounds_at_least(machine: Machine) -> None:
    assert len(take(machine, [machine.call("a", lambda n: 5000.0)], budget_s=1.0)) == 3
    assert len(take(machine, [machine.call("b", lambda n: 100.0)], budget_s=1.0, runs=50)) == 9


def test_progress_adds_up_to_all_rounds(machine: Machine) -> None:
    steps: list[int] = []
    take(machine, [machine.call("a", lambda n: 5.0)], enough=always, runs=50, advance=steps.append)
    assert sum(steps) == 50


def test_real_models_are_timed(write) -> None:
    path = write("relu", "(float[1, 8] x) => (float[1, 8] y) { y = Relu (x) }")
    feeds = {"x": np.ones((1, 8), np.float32)}
    alone = measure(path, feeds, runs=5)
    assert alone.runs == 5
    assert alone.interval_ms[0] <= alone.median_ms <= alone.interval_ms[1]
    assert 0 < alone.median_ms <= alone.p90_ms


def test_feeds_that_do_not_fit_are_an_error_a_user_can_read(write) -> None:
    path = write("relu", "(float[1, 8] x) => (float[1, 8] y) { y = Relu (x) }")
    with pytest.raises(ModelError, match=r"relu\.onnx: onnxruntime does not run it"):
        measure(path, {"x": np.ones((1, 9), np.float32)})
