from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.bench import judge as judge_module
from onnx_pare.bench.fidelity import compare
from onnx_pare.bench.judge import Judge
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph.edit import set_constant
from onnx_pare.graph.save import write_model
from tests.conftest import with_weights


def mlp() -> ir.Model:
    return with_weights("g (float[N, 8] x, float[8, 4] w) => (float[N, 4] y) { y = MatMul(x, w) }", w=(8, 4))


def test_it_finds_what_the_benchmark_finds(tmp_path: Path):
    model, candidate = mlp(), mlp()
    weight = candidate.graph.initializers["w"]
    set_constant(weight, np.round(weight.const_value.numpy(), 1))
    samples = synthetic_samples(model, count=6, seed=1)
    write_model(model, tmp_path / "a.onnx")
    write_model(candidate, tmp_path / "b.onnx")
    expected = compare(tmp_path / "a.onnx", tmp_path / "b.onnx", samples)
    judge = Judge(model, samples, tmp_path)
    assert judge(candidate) == expected
    assert judge.sqnr_db(candidate) == expected.sqnr_db
    first = judge.on_first(2)(candidate)
    assert (first.samples, first.random_data) == (2, True)


def test_the_float_model_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model, written = mlp(), []

    def write(model: ir.Model, path: Path) -> None:
        written.append(path.name)
        write_model(model, path)

    monkeypatch.setattr(judge_module, "write_model", write)
    judge = Judge(model, synthetic_samples(model, count=2), tmp_path)
    assert [judge.sqnr_db(model) for _ in range(2)] == [math.inf] * 2
    assert sorted(name.split("-")[0] for name in written) == ["candidate.onnx", "candidate.onnx", "float"]


def test_a_model_without_float_outputs_has_nothing_to_lose(tmp_path: Path):
    model = with_weights("g (float[1, 4] x) => (int64[1, 1] y) { y = ArgMax <axis = 1> (x) }")
    assert Judge(model, synthetic_samples(model, count=2), tmp_path).sqnr_db(model) == math.inf
