from __future__ import annotations

import pytest

from onnx_pare.bench.feeds import timing_feeds
from onnx_pare.errors import ModelError, UsageError
from onnx_pare.graph.load import load_model

FREE = "(float[N, 3, 8, 8] x) => (float[N, 3, 8, 8] y) { y = Relu (x) }"
FIXED = FREE.replace("N", "2")
STATE = (
    "(float[B, 4] x, float[2, B, 4] h, int64 rate) => (float[B, 4] y, float[2, B, 4] z, int64 r)"
    " { y = Relu (x) z = Relu (h) r = Identity (rate) }"
)


def shapes(path, **options) -> dict[str, tuple[int, ...]]:
    return {name: feed.shape for name, feed in timing_feeds(path, load_model(path), **options).items()}


def test_a_free_batch_is_one_unless_given(write) -> None:
    path = write("a", FREE)
    assert shapes(path) == {"x": (1, 3, 8, 8)}
    assert shapes(path, batch=4) == {"x": (4, 3, 8, 8)}
    assert shapes(path, shapes={"x": (5, 3, 8, 8)}) == {"x": (5, 3, 8, 8)}


def test_a_fixed_batch_is_the_models_own(write) -> None:
    path = write("a", FIXED)
    assert shapes(path) == {"x": (2, 3, 8, 8)}
    assert shapes(path, batch=2) == {"x": (2, 3, 8, 8)}
    with pytest.raises(UsageError, match=r"a\.onnx: --batch 4, but its batch is 2"):
        shapes(path, batch=4)


def test_batch_and_shape_must_agree(write) -> None:
    with pytest.raises(UsageError, match="--batch 4, but its batch is 5"):
        shapes(write("a", FREE), batch=4, shapes={"x": (5, 3, 8, 8)})


def test_a_batch_axis_in_the_middle_and_inputs_without_one(write) -> None:
    assert shapes(write("a", STATE), batch=3) == {"x": (3, 4), "h": (2, 3, 4), "rate": ()}


def test_a_free_dimension_is_named_with_its_model(write) -> None:
    path = write("a", "(float[N, L] x) => (float[N, L] y) { y = Relu (x) }")
    with pytest.raises(ModelError, match=r"a\.onnx: input 'x'"):
        shapes(path)
