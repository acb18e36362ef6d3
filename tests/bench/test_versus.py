from __future__ import annotations

import math

import numpy as np
import pytest

from onnx_pare.bench.paired import APART
from onnx_pare.bench.versus import Inputs, versus
from onnx_pare.errors import ModelError
from onnx_pare.graph import lean, wire

GRAPH = "(float[N, 3] x) => (float[N, 3] y) <float[3, 3] w = {%s}> { y = MatMul (x, w) }"
UNIT = GRAPH % "1, 0, 0, 0, 1, 0, 0, 0, 1"
TENTH_MORE = GRAPH % "1.1, 0, 0, 0, 1.1, 0, 0, 0, 1.1"


@pytest.fixture
def pair(write):
    return write("a", UNIT), write("b", TENTH_MORE)


def test_without_data_the_samples_are_synthetic(pair) -> None:
    found = versus(*pair, Inputs(), runs=3)
    assert found.fidelity.random_data
    assert found.fidelity.samples == 32
    assert found.fidelity.sqnr_db == pytest.approx(20, abs=1e-4)
    assert found.accuracy is None
    assert found.costs[0]["macs"] == found.costs[1]["macs"] == 9
    assert found.costs[0]["params"] == 9
    assert found.costs[0]["nonzero_params"] == 3


def test_labelled_data_serves_for_fidelity_too(pair, tmp_path) -> None:
    path = tmp_path / "val.npz"
    np.savez(path, x=np.eye(3, dtype=np.float32)[[0, 1, 2, 0]], y=np.array([0, 1, 2, 2]))
    found = versus(*pair, Inputs(labels=path), runs=3)
    assert not found.fidelity.random_data
    assert (found.fidelity.samples, found.source) == (4, str(path))
    assert found.accuracy is not None
    assert (found.accuracy.before, found.accuracy.after) == (0.75, 0.75)


def test_data_and_a_limit(pair, tmp_path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.ones((10, 3), np.float32))
    assert versus(*pair, Inputs(data=path, limit=4), runs=3).fidelity.samples == 4


def test_the_keys_of_the_contract(pair) -> None:
    data = versus(pair[0], pair[0], Inputs(), runs=3).to_json()
    assert {"schema", "a", "b", "fidelity", "accuracy", "latency"} <= set(data)
    assert data["schema"] == "onnx-pare/compare/1"
    cost = {"size_bytes", "params", "nonzero_params", "macs", "effective_macs", "peak_activation_bytes"}
    assert cost | {"nodes", "uncounted_ops"} <= set(data["a"])
    assert data["fidelity"]["sqnr_db"] == 200
    assert not math.isnan(data["latency"][0]["speedup"])


def test_a_fixed_batch_of_either_model_decides(pair, write) -> None:
    fixed = write("fixed", UNIT.replace("N", "2"))
    assert versus(fixed, pair[1], Inputs(), runs=3).fidelity.samples == 32
    assert versus(pair[1], fixed, Inputs(), runs=3).fidelity.samples == 32


def test_models_that_differ_outside_are_refused(pair, write) -> None:
    other = write("c", UNIT.replace("y", "z"))
    with pytest.raises(ModelError, match=r"outputs of a\.onnx are 'y', of c\.onnx 'z'"):
        versus(pair[0], other, Inputs())


def test_large_models_are_compared_as_small_ones_one_at_a_time(pair, monkeypatch) -> None:
    usual = versus(*pair, Inputs(), runs=3)
    monkeypatch.setattr(lean, "LARGE_BYTES", 1)
    monkeypatch.setattr(wire, "STREAMED_BYTES", 36)
    large = versus(*pair, Inputs(), runs=3)
    assert large.paths == usual.paths
    assert large.costs == usual.costs
    assert large.fidelity == usual.fidelity
    assert large.warnings == (*usual.warnings, APART)
    assert large.to_json()["latency"][0]["warnings"] == [APART]
