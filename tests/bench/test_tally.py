from __future__ import annotations

import math

import numpy as np
import pytest

from onnx_pare.bench.tally import Tally, decibels, json_db


@pytest.mark.parametrize(
    ("signal", "noise", "expected"),
    [(100, 1, 20), (1, 0, math.inf), (0, 0, math.inf), (0, 1, -math.inf), (1, math.inf, -math.inf)],
)
def test_decibels(signal: float, noise: float, expected: float) -> None:
    assert decibels(signal, noise) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(math.inf, 200), (-math.inf, -200), (31.5, 31.5), (None, None)]
)
def test_json_holds_no_infinity(value: float, expected: float) -> None:
    assert json_db(value) == expected


def test_sums_run_over_all_batches_cosines_over_samples() -> None:
    tally = Tally("y")
    tally.add(np.array([[3.0, 4.0]]), np.array([[3.0, 4.0]]), by_row=True)
    tally.add(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]), by_row=True)
    found = tally.result()
    assert found.sqnr_db == pytest.approx(10 * math.log10(27 / 2))
    assert found.cosine == pytest.approx(2 / 3)
    assert found.max_abs_error == 1


def test_an_output_without_a_batch_axis_is_one_sample() -> None:
    tally = Tally("y")
    tally.add(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]), by_row=False)
    assert tally.result().cosine == pytest.approx(1 / math.sqrt(2))


def test_zeros_against_zeros_point_the_same_way() -> None:
    tally = Tally("y")
    tally.add(np.zeros((2, 3)), np.array([[0.0, 0, 0], [1.0, 0, 0]]), by_row=True)
    assert tally.result().cosine == 0.5


def test_half_precision_does_not_overflow_in_the_sums() -> None:
    tally = Tally("y")
    values = np.full((1, 100), 60000, np.float16)
    tally.add(values, np.full((1, 100), 59968, np.float16), by_row=True)
    assert tally.result().sqnr_db == pytest.approx(20 * math.log10(60000 / 32))


def test_an_empty_output_is_identical() -> None:
    tally = Tally("boxes")
    tally.add(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32), by_row=False)
    found = tally.result()
    assert (found.sqnr_db, found.cosine, found.max_abs_error) == (math.inf, None, 0)


def test_strings_compare_by_agreement() -> None:
    tally = Tally("label")
    tally.add(np.array(["cat", "dog"], object), np.array(["cat", "cow"], object), by_row=True)
    assert tally.result().agreement == 0.5


def test_a_sequence_is_said_not_compared() -> None:
    tally = Tally("probabilities")
    tally.add([{"cat": 0.5}], [{"cat": 0.5}], by_row=False)
    assert tally.result().note == "output 'probabilities' is not a tensor; not compared"


def test_scalars() -> None:
    tally = Tally("y")
    tally.add(np.array(2, np.float32), np.array(1, np.float32), by_row=False)
    assert tally.result().max_abs_error == 1
    tally.add(np.array(2, np.float32), np.array(np.nan, np.float32), by_row=False)
    assert tally.result().nonfinite == 1


def test_a_reference_without_a_finite_value_gives_no_sqnr() -> None:
    tally = Tally("y")
    tally.add(np.full((2, 3), np.inf, np.float32), np.zeros((2, 3), np.float32), by_row=True)
    found = tally.result()
    assert (found.sqnr_db, found.cosine, found.max_abs_error) == (None, None, None)
    assert "not finite in the reference" in found.note
