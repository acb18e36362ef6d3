from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_pare.bench import fidelity
from onnx_pare.bench.fidelity import Reference, compare
from onnx_pare.bench.runner import Runner
from onnx_pare.errors import DataError, ModelError
from onnx_pare.graph import lean

X = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)


@pytest.fixture
def scaled(write):
    """Return a function that writes the model y = factor · x of a given signature."""

    def write_scaled(name: str, factor: float, shape: str = "N, 4") -> Path:
        body = f"<float c = {{{factor}}}> {{ y = Mul (x, c) }}"
        return write(name, f"(float[{shape}] x) => (float[{shape}] y) {body}")

    return write_scaled


def test_a_tenth_too_much_is_20_decibels(scaled, rows) -> None:
    found = compare(scaled("a", 1.0), scaled("b", 1.1), rows(X))
    assert found.samples == 10
    assert found.sqnr_db == pytest.approx(20, abs=1e-4)
    assert found.cosine == pytest.approx(1)
    assert found.max_abs_error == pytest.approx(0.1 * np.abs(X).max(), rel=1e-5)
    assert found.top1_agreement == 1
    assert not found.random_data


def test_identical_outputs_are_infinite_decibels_and_200_in_json(scaled, rows) -> None:
    found = compare(scaled("a", 1.0), scaled("b", 1.0), rows(X))
    assert found.sqnr_db == math.inf
    assert found.to_json()["sqnr_db"] == 200
    assert found.max_abs_error == 0


def test_opposite_outputs(scaled, rows) -> None:
    found = compare(scaled("a", 1.0), scaled("b", -1.0), rows(X))
    assert found.cosine == pytest.approx(-1)
    assert found.sqnr_db == pytest.approx(10 * math.log10(1 / 4))
    assert found.top1_agreement == 0


def test_nothing_left_of_the_signal(scaled, rows) -> None:
    found = compare(scaled("a", 0.0), scaled("b", 1.0), rows(X))
    assert found.sqnr_db == -math.inf
    assert found.cosine == 0
    assert found.to_json()["sqnr_db"] == -200


def test_top1_agreement_counts_samples(write, scaled, rows) -> None:
    shifted = write("b", "(float[N, 4] x) => (float[N, 4] y) <float[4] c = {0, 0, 0, 5}> { y = Add (x, c) }")
    x = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 9, 0, 0], [0, 0, 3, 0]], np.float32)
    assert compare(scaled("a", 1.0), shifted, rows(x)).top1_agreement == 0.5


def test_nan_in_the_candidate_leaves_nothing(write, rows) -> None:
    a = write("a", "(float[N, 4] x) => (float[N, 4] y) { y = Identity (x) }")
    b = write("b", "(float[N, 4] x) => (float[N, 4] y) { y = Sqrt (x) }")
    x = np.abs(X).copy()
    x[3, 2] = -1
    found = compare(a, b, rows(x))
    assert found.sqnr_db == -math.inf
    assert found.outputs[0].nonfinite == 1
    assert found.notes == ("output 'y': 1 values became NaN or infinite",)
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["max_abs_error"] is None


def test_what_is_not_finite_in_the_reference_is_left_out(write, rows) -> None:
    a = write("a", "(float[N, 4] x) => (float[N, 4] y) { y = Log (x) }")
    x = np.abs(X).copy()
    x[3, 2] = 0
    found = compare(a, a, rows(x))
    assert found.sqnr_db == math.inf
    assert found.notes == ("output 'y': 1 values are not finite in the reference already",)


def test_the_worst_output_is_the_headline(write, rows) -> None:
    signature = "(float[N, 4] x) => (float[N, 4] y, float[N, 4] z)"
    a = write("a", signature + " { y = Identity (x) z = Identity (x) }")
    b = write("b", signature + " <float c = {1.1}> { y = Identity (x) z = Mul (x, c) }")
    found = compare(a, b, rows(X))
    assert [o.name for o in found.outputs] == ["y", "z"]
    assert found.outputs[0].sqnr_db == math.inf
    assert found.sqnr_db == found.outputs[1].sqnr_db == pytest.approx(20, abs=1e-4)


def test_integers_compare_by_agreement(write, rows) -> None:
    signature = "(float[N, 4] x) => (int64[N, 4] y)"
    a = write("a", signature + " { y = Cast <to = 7> (x) }")
    b = write("b", signature + " <float c = {1}> { z = Add (x, c) y = Cast <to = 7> (z) }")
    x = np.array([[0.5, 2.0, 3.0, -0.5]], np.float32)
    found = compare(a, b, rows(x))
    assert found.outputs[0].agreement == 0.25
    assert (found.sqnr_db, found.cosine, found.top1_agreement) == (None, None, None)


def test_padding_does_not_count(scaled, rows) -> None:
    b = scaled("b", 1.1, "4, 4")
    x = np.concatenate([X[:5], np.full((1, 4), 100, np.float32)])
    found = compare(scaled("a", 1.0, "4, 4"), b, rows(x, fixed=4), limit=5)
    assert found.samples == 5
    assert found.max_abs_error == pytest.approx(0.1 * np.abs(X[:5]).max(), rel=1e-5)


def test_shapes_that_depend_on_the_data_are_said_not_compared(write, rows) -> None:
    signature = "(float[N, 4] x) => (int64[2, K] where, float[N, 4] y)"
    a = write("a", signature + " { where = NonZero (x) y = Identity (x) }")
    b = write("b", signature + " { z = Relu (x) where = NonZero (z) y = Identity (x) }")
    found = compare(a, b, rows(np.array([[1, 2, 0, -1]], np.float32)))
    assert found.outputs[0].agreement is None
    assert found.notes == ("output 'where' has another shape in sample 1: 2x3 against 2x2; not compared",)
    assert found.sqnr_db == math.inf


def test_boxes_are_no_classes(write, rows) -> None:
    boxes = write("a", "(float[N, 8] x) => (float[M, 4] y) <int64[2] s = {-1, 4}> { y = Reshape (x, s) }")
    assert compare(boxes, boxes, rows(np.ones((3, 8), np.float32))).top1_agreement is None


def test_scores_may_have_two_more_axes(write, rows) -> None:
    a = write("a", "(float[N, 4, 1, 1] x) => (float[N, 4, 1, 1] y) { y = Identity (x) }")
    assert compare(a, a, rows(X.reshape(10, 4, 1, 1))).top1_agreement == 1


def test_a_reference_runs_once_for_many_candidates(scaled, rows, monkeypatch) -> None:
    runs = count_runs(monkeypatch)
    reference = Reference(scaled("a", 1.0), rows(X))
    first = reference.compare(scaled("b", 1.1))
    second = reference.compare(scaled("c", 1.1))
    assert first.sqnr_db == second.sqnr_db
    assert runs == {"a": 10, "b": 10, "c": 10}


def test_outputs_beyond_the_memory_given_are_computed_again(scaled, rows, monkeypatch) -> None:
    runs = count_runs(monkeypatch)
    reference = Reference(scaled("a", 1.0), rows(X), kept_bytes=3 * 4 * 4)
    first = reference.compare(scaled("b", 1.1))
    second = reference.compare(scaled("c", 1.1))
    assert first.sqnr_db == second.sqnr_db
    assert runs == {"a": 17, "b": 10, "c": 10}


def test_of_large_models_one_is_loaded_at_a_time(scaled, rows, monkeypatch) -> None:
    a, b = scaled("a", 1.0), scaled("b", 1.1)
    expected = compare(a, b, rows(X))
    order: list[str] = []

    class Alone(Runner):
        living = 0

        def __init__(self, path: Path, **options: Any) -> None:
            super().__init__(path, **options)
            assert Alone.living == 0
            Alone.living = 1
            order.append(path.stem)

        def __del__(self) -> None:
            Alone.living = 0

    monkeypatch.setattr(lean, "LARGE_BYTES", 1)
    monkeypatch.setattr(fidelity, "Runner", Alone)
    assert compare(a, b, rows(X)) == expected
    assert order == ["a", "b"]
    # four samples: 4 · 4 bytes of input and as many of output each
    monkeypatch.setattr(fidelity, "KEPT_BYTES", 4 * 2 * 16)
    assert compare(a, b, rows(X)) == expected
    assert order == ["a", "b", *"ababab"]


def test_a_missing_output_is_named(write, scaled, rows) -> None:
    b = write("b", "(float[N, 4] x) => (float[N, 4] z) { z = Relu (x) }")
    with pytest.raises(ModelError, match=r"b\.onnx: has no output 'y'"):
        compare(scaled("a", 1.0), b, rows(X))


@pytest.mark.parametrize(("count", "limit"), [(0, None), (4, 0)])
def test_no_samples_are_an_error(scaled, rows, count, limit) -> None:
    with pytest.raises(DataError, match="no samples"):
        compare(scaled("a", 1.0), scaled("b", 1.0), rows(X[:count]), limit=limit)


def test_limit_takes_the_first_samples(scaled, rows, monkeypatch) -> None:
    runs = count_runs(monkeypatch)
    assert compare(scaled("a", 1.0), scaled("b", 1.0), rows(X), limit=3).samples == 3
    assert runs == {"a": 3, "b": 3}


def count_runs(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    runs: dict[str, int] = {}

    class Counting(fidelity.Runner):
        def run(self, feeds, outputs=None):
            runs[self.path.stem] = runs.get(self.path.stem, 0) + 1
            return super().run(feeds, outputs)

    monkeypatch.setattr(fidelity, "Runner", Counting)
    return runs
