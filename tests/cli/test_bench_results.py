from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from onnx_pare.bench.latency import Latency
from onnx_pare.cli import bench_results
from onnx_pare.cli.bench_results import Measured, Predicted, compared, table
from onnx_pare.hw_profiles.files import device_file
from onnx_pare.hw_profiles.prediction import Prediction
from onnx_pare.hw_profiles.profiles import LOCAL, Profile, of_device
from onnx_pare.hw_profiles.workload import Forecast
from tests.hw_profiles.board import BOARD


def profile(name: str) -> Profile:
    device = device_file(BOARD)
    assert device is not None
    return of_device(name, device)


def predicted(name: str, model: str, ms: float, *notes: str) -> Predicted:
    found = Prediction(ms, 0.1, (), {}, (), None, notes)
    return Predicted(Path(model), 10**9, profile(name), Forecast(profile(name), 1, found, ()))


def measured(model: str, ms: float) -> Measured:
    return Measured(Path(model), 10**9, LOCAL, Latency(ms, ms, (ms, ms), 20, 1))


def test_only_predictions_of_this_machine_are_compared() -> None:
    found = compared([measured("a", 10), predicted("local", "a", 12), predicted("pi", "a", 99)])
    assert [getattr(result, "measured_ms", None) for result in found] == [None, 10, None]
    assert isinstance(found[1], Predicted)
    assert found[1].error_percent == pytest.approx(20)


def test_numbers_do_not_wrap_in_a_narrow_terminal() -> None:
    text = io.StringIO()
    rows = [measured("resnet50.onnx", 81.25), predicted("raspberry-pi-zero-2-w@ncnn", "resnet50.onnx", 1250)]
    Console(file=text, width=80).print(table(rows))
    assert "≈ 1.25 s" in text.getvalue()
    assert "[1.10 s, 1.42 s]" in text.getvalue()
    assert max(map(len, text.getvalue().splitlines())) <= 80


def test_a_warning_is_said_once_for_all_it_is_true_of() -> None:
    note = "int8 was never measured with ncnn: predicted to take as long as float32"
    rows = [predicted("pi", "a", 1, note), predicted("pi", "b", 1, note), predicted("nano", "a", 1, note)]
    assert list(bench_results._warnings(rows)) == [f"[yellow]warning[/]  pi, nano: {note}"]
