from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from onnx_pare.bench import race as module
from onnx_pare.bench.race import Timing, race, stopwatch, written
from onnx_pare.bench.statistics import Floats
from tests.conftest import with_weights


def test_ratios_are_those_of_the_same_round():
    found = Timing(2.0, np.array([2.0, 3.0, 2.5]))
    assert found.speedup == 2.5
    low, high = found.interval(0)
    assert 2.0 <= low <= 2.5 <= high <= 3.0


def test_large_files_run_in_several_heats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LOADED_BYTES", 250)
    paths = [tmp_path / str(number) for number in range(4)]
    for path in paths:
        path.write_bytes(bytes(100))
    heats: list[tuple[list[str], float]] = []

    def measure(given: Sequence[Path], budget_s: float) -> Floats:
        heats.append(([path.name for path in given], budget_s))
        return np.tile([4.0, *(float(path.name) for path in given[1:])], (5, 1))

    found = race(paths[0], paths[1:], measure, 30.0)
    assert heats == [(["0", "1"], 10.0), (["0", "2"], 10.0), (["0", "3"], 10.0)]
    assert [timing.speedup for timing in found] == [4.0, 2.0, pytest.approx(4 / 3)]


@pytest.mark.parametrize("threads", [1, 2])
def test_files_are_timed(threads: int, tmp_path: Path):
    model = with_weights("g (float[2, 8] x) => (float[2, 8] y) { y = Sigmoid(x) }")
    told: list[int] = []
    with written(iter([model, model]), tmp_path) as paths:
        measure = stopwatch({"x": np.zeros((2, 8), np.float32)}, threads=threads, seed=0, advance=told.append)
        times_ms = measure(paths, 0.2)
    assert times_ms.shape[1] == 2
    assert (times_ms > 0).all()
    assert told == [1]
    assert list(tmp_path.iterdir()) == []
