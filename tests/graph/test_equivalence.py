"""Telling whether two models compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph.equivalence import differences, other_sizes
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Feeds
from onnx_pare.graph.signature import Port, Signature

HEAD = '<ir_version: 8, opset_import: ["": 17]> g (float[N,2] x) => '
X: Feeds = {"x": np.array([[1, -2]], np.float32)}


def found(before: str, after: str, tmp_path: Path, feeds: Feeds = X) -> list[str]:
    for name, text in (("a", before), ("b", after)):
        write_model(ir.from_onnx_text(HEAD + text), tmp_path / f"{name}.onnx")
    return list(differences(tmp_path / "a.onnx", tmp_path / "b.onnx", [feeds]))


def times(factor: float) -> str:
    return f"(float[N,2] y) <float k = {{{factor}}}> {{ y = Mul (x, k) }}"


def test_the_same(tmp_path: Path) -> None:
    assert found(times(2), times(2.00001), tmp_path) == []


def test_other_numbers(tmp_path: Path) -> None:
    (text,) = found(times(2), times(2.01), tmp_path)
    assert text == "output 'y' differs by 0.02, 0.005 of its largest magnitude (allowed: 0.0001)"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("(float[N,2] y) { y = Sqrt (x) }", "(float[N,2] y) { y = Abs (x) }", "infinite or NaN"),
        ("(float[N,2] y) { y = Abs (x) }", "(float[N,2] y) { y = Sqrt (x) }", "differs by nan"),
        (
            "(bool[N,2] y) { y = IsNaN (x) }",
            "(bool[N,2] y) { z = IsNaN (x)  y = Not (z) }",
            "is not the same",
        ),
        ("(float[N,2] y) { y = Abs (x) }", "(float[M,K] y) { y = Transpose (x) }", "was float32 (1, 2), is"),
        (
            "(float[N,2] y) { y = Abs (x) }",
            "(float[N,2] y) <int64[1] s = {3}> { z = Reshape (x, s)  y = Expand (z, s) }",
            "it does not run on x (1, 2)",
        ),
    ],
)
def test_other_results(before: str, after: str, reason: str, tmp_path: Path) -> None:
    (text,) = found(before, after, tmp_path)
    assert reason in text


def test_sequences(tmp_path: Path) -> None:
    split = "(seq(float[N,1]) y) {{ z = {} (x)  y = SplitToSequence <axis = 1> (z) }}"
    assert found(split.format("Abs"), split.format("Abs"), tmp_path) == []
    assert found(split.format("Abs"), split.format("Relu"), tmp_path)[0].startswith("output 'y' differs by 2")


def test_what_the_first_refuses_is_passed_over(tmp_path: Path) -> None:
    assert found(times(2), times(3), tmp_path, {"x": np.zeros((1, 3), np.float32)}) == []


def test_sizes_double_together_by_name() -> None:
    ports = (
        Port("a", "float32", ("batch", 3, "length")),
        Port("b", "float32", (2, "batch")),
        Port("c", "float32", (None,)),
    )
    feeds = {"a": np.zeros((1, 3, 5)), "b": np.zeros((2, 1)), "c": np.zeros(4)}
    shapes = [
        tuple(array.shape for array in feed.values()) for feed in other_sizes(feeds, Signature(ports, ()))
    ]
    assert shapes == [
        ((2, 3, 5), (2, 2), (4,)),
        ((1, 3, 5), (2, 1), (8,)),
        ((1, 3, 10), (2, 1), (4,)),
        ((2, 3, 10), (2, 2), (8,)),
    ]


def test_fixed_sizes_stay() -> None:
    assert list(other_sizes({"a": np.zeros(3)}, Signature((Port("a", "float32", (3,)),), ()))) == []
