"""Channel groups of real networks; the rules' tests have one for each operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph.groups import find_groups
from onnx_pare.graph.load import load_model
from onnx_pare.graph.surgery import remove_channels

from .conftest import run, silence

MODELS = {
    "mnist_lenet_tengine": 4,
    "mlperf_tiny_kws_dscnn": 5,
    "mlperf_tiny_resnet8_cifar10": 6,
    "resnet20_cifar10": 12,
    "alibaba_mobilenet_cifar10": 15,
    "ultraface_rfb320": 25,
    "fastestdet_coco": 37,
}


@pytest.mark.parametrize("name", MODELS)
def test_removing_what_nothing_reads_changes_nothing(name: str, shared: Path, tmp_path: Path) -> None:
    model = load_model(shared / "models" / f"{name}.onnx")
    groups = find_groups(model)
    assert len(groups) == MODELS[name]
    rng = np.random.default_rng(0)
    units = {i: rng.permutation(g.units)[: int(0.3 * g.units)].tolist() for i, g in groups.items()}
    silence(groups, units)
    samples = list(synthetic_samples(model, count=1, seed=0))
    before = run(model, tmp_path / "before.onnx", samples)
    remove_channels(model, groups, units)
    for a, b in zip(before, run(model, tmp_path / "after.onnx", samples), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-4 * np.abs(a).max())


def test_the_zero_padded_shortcuts_of_a_cifar_resnet(shared: Path) -> None:
    groups = find_groups(load_model(shared / "models" / "resnet20_cifar10.onnx"))
    streams = [group for group in groups.values() if len(group.producers) > 1]
    assert [(group.units, len(group.producers)) for group in streams] == [(16, 10), (16, 6), (32, 3)]
    assert len(groups.left) == 1
