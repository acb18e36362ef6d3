from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.cli import bench_figures
from onnx_pare.cli.bench_results import Predicted
from onnx_pare.errors import UsageError
from onnx_pare.hw_profiles.files import device_file
from onnx_pare.hw_profiles.profiles import LOCAL, Profile, of_device
from onnx_pare.hw_profiles.workload import Workload, forecast
from tests.conftest import with_weights
from tests.hw_profiles.board import BOARD, know_board_costs

NET = "g (float[8, 64] x, float[64, 32] w) => (float[8, 32] y) { m = MatMul(x, w) y = Relu(m) }"


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch) -> Profile:
    know_board_costs(monkeypatch)
    device = device_file(BOARD)
    assert device is not None
    return of_device("board", device)


def result(profile: Profile) -> Predicted:
    work = Workload.of(with_weights(NET, w=(64, 32)), {"x": (8, 64)})
    return Predicted(Path("net.onnx"), work.macs, profile, forecast(work, profile))


def test_operators_know_what_they_compute_and_move(profile: Profile) -> None:
    (product,) = result(profile).forecast.prediction.ops
    assert product.flops == 2 * 8 * 64 * 32
    assert product.moved_bytes == 4 * (8 * 64 + 64 * 32 + 8 * 32)


def test_roofs_are_peaks_and_what_is_reached_of_them(profile: Profile) -> None:
    found = bench_figures.roofs(result(profile).forecast)
    assert found.flops_per_s == {"float32 peak": 96e9, "float32 reached": 20e9}
    assert found.bytes_per_s == {"memory peak": 16e9, "memory reached, float32": 2e9}


def test_both_pictures(profile: Profile, tmp_path: Path) -> None:
    plot, roofline = tmp_path / "plot.svg", tmp_path / "roofline.svg"
    bench_figures.draw(str(plot), str(roofline), [result(profile)])
    assert "board, predicted" in plot.read_text()
    assert "net.onnx on board" in roofline.read_text()


def test_what_cannot_be_drawn_is_said_before_the_work(profile: Profile, tmp_path: Path) -> None:
    one = [Path("a.onnx")]
    bench_figures.check("", str(tmp_path / "r.svg"), one, [LOCAL, profile])
    bench_figures.check(str(tmp_path / "p.svg"), "", one * 2, [LOCAL])
    for models, profiles in ((one * 2, [profile]), (one, [LOCAL]), (one, [profile, profile])):
        with pytest.raises(UsageError, match="one model on one predicted profile"):
            bench_figures.check("", str(tmp_path / "r.svg"), models, profiles)
    with pytest.raises(UsageError, match="suffix"):
        bench_figures.check(str(tmp_path / "p.txt"), "", one, [LOCAL])
