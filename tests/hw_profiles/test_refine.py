"""Refining a profile by measurements: tables that are read, and fits that come out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from onnx_pare.cost.kernels import Kernel
from onnx_pare.errors import ProfileError
from onnx_pare.hw_profiles.prediction import predict
from onnx_pare.hw_profiles.profiles import Profile, find, of_device
from onnx_pare.hw_profiles.refine import Timed, read_measurements, refined

PI = "raspberry-pi-4@ncnn"


def kernels(channels: int, size: int = 784, op_class: str = "pointwise") -> list[Kernel]:
    one = Kernel(
        name="x",
        op="Conv",
        op_class=op_class,
        nodes=1,
        macs=size * channels**2,
        read_bytes=4 * size * channels,
        written_bytes=4 * size * channels,
        weight_bytes=4 * channels**2,
        elements=size * channels,
        inner=channels,
        outer=channels,
        rows=size,
    )
    return [one, replace(one, op_class="depthwise", macs=9 * size * channels, inner=1, outer=1, window=9)]


def again(profile: Profile, *timed: Timed) -> Profile:
    return of_device("mine", refined(profile, timed), profile.runtime)


def test_one_measurement_moves_all_models() -> None:
    before = find(PI)
    slow = Timed("a", kernels(64), 2 * predict(kernels(64), before).latency_ms, threads=1)
    after = again(before, slow)
    for channels in (16, 64, 256):
        ratio = predict(kernels(channels), after).latency_ms / predict(kernels(channels), before).latency_ms
        assert ratio == pytest.approx(2.0, rel=0.05)


def test_one_measurement_validates_nothing() -> None:
    before = find(PI)
    after = again(before, Timed("a", kernels(64), 50.0, threads=1))
    (fit,) = (each for each in after.on.fits if (each.dtype, each.threads) == ("float32", 1))
    assert fit.validation is None
    assert fit.measured_models == 1
    assert predict(kernels(64), after).error_percent is None


def test_several_measurements_say_their_error() -> None:
    before = find(PI)
    timed = [Timed(str(c), kernels(c), 3 * predict(kernels(c), before).latency_ms, 1) for c in (16, 64, 256)]
    after = again(before, *timed)
    (fit,) = (each for each in after.on.fits if (each.dtype, each.threads) == ("float32", 1))
    assert fit.validation is not None
    assert fit.validation.models == 3
    assert fit.validation.error_percent < 5


def test_only_what_was_measured_is_replaced() -> None:
    before = find(PI)
    after = again(before, Timed("a", kernels(64), 50.0, threads=1))
    others = [fit for fit in before.on.fits if (fit.dtype, fit.threads) != ("float32", 1)]
    assert [fit for fit in after.on.fits if (fit.dtype, fit.threads) != ("float32", 1)] == others
    assert set(after.known.runtimes) == set(before.known.runtimes)


def test_facts_alone_become_a_fit() -> None:
    before = find("pixel-8@ncnn")
    assert not before.on.fits
    after = again(before, Timed("a", kernels(64), 5.0, threads=1))
    assert predict(kernels(64), after).latency_ms == pytest.approx(5.0, rel=0.1)


def test_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("model,latency_ms,threads,batch\na.onnx,1.5,4,\nsub/b.onnx,2,1,8\n")
    first, second = read_measurements(path)
    assert (first.model, first.latency_ms, first.threads, first.batch) == (tmp_path / "a.onnx", 1.5, 4, None)
    assert (second.model, second.batch, second.where) == (tmp_path / "sub" / "b.onnx", 8, f"{path}:3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'model'"),
        ("model,latency_ms\n", "no measurements"),
        ("model,latency\na.onnx,1\n", "unknown column 'latency'"),
        ("model\na.onnx\n", "no column 'latency_ms'"),
        ("model,latency_ms\na.onnx,fast\n", ":2: latency_ms must be a positive number, not 'fast'"),
        ("model,latency_ms\na.onnx,-1\n", "positive number, not '-1'"),
        ("model,latency_ms\na.onnx,inf\n", "positive number, not 'inf'"),
        ("model,latency_ms\n,1\n", ":2: no model"),
        ("model,latency_ms,threads\na.onnx,1,1.5\n", "threads must be a positive whole number, not '1.5'"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(ProfileError) as error:
        read_measurements(path)
    assert message in error.value.message


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be read"):
        read_measurements(tmp_path / "none.csv")
