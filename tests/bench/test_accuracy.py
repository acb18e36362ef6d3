from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from onnx_pare.bench import accuracy
from onnx_pare.bench.accuracy import accuracy_pair, mixes_samples, top1
from onnx_pare.errors import DataError, ModelError

IDENTITY = "(float[N, 3] x) => (float[N, 3] y) { y = Identity (x) }"


@dataclass
class Labels:
    samples: Any
    labels: np.ndarray
    source: str = "val.npz"


@pytest.fixture
def labelled(rows):
    """Return a function that makes labelled samples of one-hot scores, batch `fixed` (0: free)."""

    def make(classes: list[int], labels: list[int], fixed: int = 0) -> Labels:
        return Labels(rows(np.eye(3, dtype=np.float32)[classes], fixed=fixed), np.array(labels, np.int64))

    return make


def test_the_fraction_that_is_right(write, labelled) -> None:
    found = top1(write("a", IDENTITY), labelled([0, 1, 2, 0], [0, 1, 2, 2]))
    assert (found.metric, found.samples, found.value) == ("top1", 4, 0.75)


@pytest.mark.parametrize("batch", [1, 2, 3, 32])
def test_the_batch_changes_nothing(write, labelled, batch) -> None:
    data = labelled([0, 1, 2, 0, 1], [0, 1, 2, 2, 0])
    assert top1(write("a", IDENTITY), data, batch=batch).value == 0.6


def test_padding_of_a_fixed_batch_does_not_count(write, labelled) -> None:
    fixed = write("a", "(float[4, 3] x) => (float[4, 3] y) { y = Identity (x) }")
    found = top1(fixed, labelled([0, 1, 2, 0, 1], [0, 1, 2, 0, 0], fixed=4))
    assert (found.samples, found.value) == (5, 0.8)


def test_a_row_with_nan_is_wrong(write, labelled) -> None:
    graph = "(float[N, 3] x) => (float[N, 3] y) <float c = {-1}> { z = Mul (x, c) y = Sqrt (z) }"
    assert top1(write("a", graph), labelled([0, 1], [0, 1])).value == 0


def test_before_and_after(write, labelled) -> None:
    negated = write("b", "(float[N, 3] x) => (float[N, 3] y) { y = Neg (x) }")
    pair = accuracy_pair(write("a", IDENTITY), negated, labelled([0, 1, 2], [0, 1, 2]))
    assert pair.to_json() == {"metric": "top1", "samples": 3, "before": 1.0, "after": 0.0}


def test_a_label_that_is_no_class(write, labelled) -> None:
    with pytest.raises(DataError, match=r"val\.npz: label 3 is no class of .*, which has 3"):
        top1(write("a", IDENTITY), labelled([0, 1], [0, 3]))


def test_no_samples(write, labelled) -> None:
    with pytest.raises(DataError, match=r"val\.npz: no labelled samples"):
        top1(write("a", IDENTITY), labelled([], []))


def test_a_model_without_classes(write, labelled) -> None:
    one = write("a", "(float[N, 3] x) => (float[N, 1] y) { y = ReduceMax <axes = [1]> (x) }")
    with pytest.raises(ModelError, match=r"needs a float output of shape \(batch, classes\); found \(2, 1\)"):
        top1(one, labelled([0, 1], [0, 1]))


def test_models_that_quantize_a_whole_batch_run_one_sample_at_a_time(write, labelled, monkeypatch) -> None:
    dynamic = write(
        "dynamic",
        "(float[N, 3] x) => (float[N, 3] y)"
        " { q, s, z = DynamicQuantizeLinear (x) y = DequantizeLinear (q, s, z) }",
    )
    assert mixes_samples(dynamic)
    assert not mixes_samples(write("a", IDENTITY))
    batches: list[int] = []
    run = accuracy.Runner.run
    monkeypatch.setattr(
        accuracy.Runner, "run", lambda self, feeds: batches.append(len(feeds["x"])) or run(self, feeds)
    )
    top1(dynamic, labelled([0, 1], [0, 1]))
    assert batches == [1, 1]


def test_inputs_that_are_large_run_in_smaller_batches(labelled, monkeypatch) -> None:
    monkeypatch.setattr(accuracy, "BATCH_BYTES", 5 * 3 * 4)
    assert accuracy._batch_that_fits(labelled([0] * 50, [0] * 50)) == 5
