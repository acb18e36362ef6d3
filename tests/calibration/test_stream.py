from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.calibration.inputs import model_inputs
from onnx_pare.calibration.stream import Stream, subset
from onnx_pare.errors import DataError


def stream(model, samples):
    return Stream("here", False, model_inputs(model), len(samples), lambda: iter(samples))


def rows(*widths):
    return [{"x": np.full((1, width), i, np.float32)} for i, width in enumerate(widths)]


def test_a_free_batch_is_filled_up_to_the_size_asked_for(make_model):
    samples = stream(make_model("float[N, 2] x"), rows(*[2] * 5))
    assert [(feeds["x"].shape, count) for feeds, count in samples.batches(2)] == [
        ((2, 2), 2),
        ((2, 2), 2),
        ((1, 2), 1),
    ]
    assert [feeds["x"].shape for feeds in samples] == [(1, 2)] * 5
    assert len(samples) == 5
    assert sum(count for _, count in samples.batches(100)) == 5


def test_a_fixed_batch_is_padded_by_its_last_sample(make_model):
    samples = stream(make_model("float[4, 2] x"), rows(*[2] * 6))
    (first, four), (last, two) = samples.batches(32)
    assert (four, two) == (4, 2)
    np.testing.assert_array_equal(first["x"][:, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(last["x"][:, 0], [4, 5, 5, 5])


def test_a_batch_ends_where_a_free_dimension_changes(make_model):
    samples = stream(make_model("float[N, W] x"), rows(3, 3, 4, 3))
    assert [(feeds["x"].shape, count) for feeds, count in samples.batches(8)] == [
        ((2, 3), 2),
        ((1, 4), 1),
        ((1, 3), 1),
    ]


def test_a_batch_ends_where_an_input_without_sample_axis_changes(make_model):
    model = make_model("float[N, 2] a, float[2, N, 3] s, int64 rate")
    samples = [
        {
            "a": np.full((1, 2), i, np.float32),
            "s": np.full((2, 1, 3), i, np.float32),
            "rate": np.array(rate),
        }
        for i, rate in enumerate([8, 8, 16])
    ]
    (first, two), (second, one) = stream(model, samples).batches(8)
    assert (two, one) == (2, 1)
    assert (first["s"].shape, first["rate"]) == ((2, 2, 3), 8)
    np.testing.assert_array_equal(first["s"][0, :, 0], [0, 1])
    assert second["rate"] == 16


def test_subsets_are_drawn_by_seed_and_kept_in_order():
    assert list(subset(3, None, 0)) == [0, 1, 2]
    assert list(subset(3, 5, 0)) == [0, 1, 2]
    drawn = subset(1000, 50, 1)
    assert drawn == subset(1000, 50, 1) == sorted(set(drawn))
    assert len(drawn) == 50
    assert drawn != subset(1000, 50, 2)
    with pytest.raises(DataError, match="0 samples asked for"):
        subset(3, 0, 0)


def test_a_part_is_read_by_skipping_what_comes_before(make_model):
    samples = stream(make_model("float[N, 2] x"), rows(*[2] * 6))

    def places(part: Stream) -> list[float]:
        return [float(feeds["x"][0, 0]) for feeds in part]

    middle = samples.part(2, 5)
    assert (len(middle), places(middle), places(middle)) == (3, [2, 3, 4], [2, 3, 4])
    assert places(middle.part(1, 2)) == [3]
    assert (len(samples.part(4, 100)), places(samples.part(4, 100))) == (2, [4, 5])
    for start, stop in ((3, 3), (4, 2), (9, 12)):
        assert (len(samples.part(start, stop)), places(samples.part(start, stop))) == (0, [])
    assert places(samples) == [0, 1, 2, 3, 4, 5]


def test_a_part_keeps_what_is_known_of_the_whole(make_model):
    whole = Stream(
        "here", True, model_inputs(make_model("float[4, 2] x")), 6, lambda: iter(rows(*[2] * 6)), ("w",)
    )
    part = whole.part(0, 5)
    assert (part.source, part.random, part.warnings) == ("here", True, ("w",))
    assert [count for _, count in part.batches()] == [4, 1]


def test_samples_set_apart_are_spread_over_all_and_leave_the_rest(make_model):
    samples = stream(make_model("float[N, 2] x"), rows(*[2] * 10))
    rest, chosen = samples.apart(3)

    def places(part: Stream) -> list[float]:
        return [float(feeds["x"][0, 0]) for feeds in part]

    assert (len(chosen), places(chosen), places(chosen)) == (3, [0, 3, 6], [0, 3, 6])
    assert (len(rest), places(rest)) == (7, [1, 2, 4, 5, 7, 8, 9])


def test_samples_are_held_in_memory_up_to_a_size(make_model):
    reads = []

    def read():
        reads.append(1)
        return iter(rows(*[2] * 4))

    samples = Stream("here", False, model_inputs(make_model("float[N, 2] x")), 4, read)
    held = samples.held(4 * 8)
    assert [float(f["x"][0, 0]) for f in (*held, *held)] == [0, 1, 2, 3] * 2
    assert len(reads) == 1
    assert samples.held(4 * 8 - 1) is samples
