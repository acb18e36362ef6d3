"""Which constants survive in half, and how those that only bound or add are rounded."""

from __future__ import annotations

import numpy as np
import onnx.defs
import onnx_ir as ir
import pytest

from onnx_pare.quantization import half_numbers
from onnx_pare.quantization.half_numbers import LARGEST, SMALLEST, fits, fits_at, half_of


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([], np.float32), True),
        (np.zeros(3, np.float32), True),
        (np.array([LARGEST, -LARGEST], np.float32), True),
        (np.array([70000.0], np.float32), False),
        (np.array([np.inf, -np.inf, 1.0], np.float32), True),
        (np.array([np.nan], np.float32), False),
        (np.array([1e-9], np.float32), False),
        (np.array([1.0, 1e-9], np.float32), True),
        (np.full(3_000_000, 1e-8, np.float32), False),
    ],
)
def test_fits(array: np.ndarray, expected: bool) -> None:
    assert fits(array) is expected


def at(operator: str, count: int = 3) -> ir.Node:
    return ir.node(operator, [ir.Value(name=f"v{i}") for i in range(count)])


def rounded(operator: str, index: int, *numbers: float) -> list[float]:
    array = np.array(numbers, np.float32)
    node = at(operator)
    assert fits_at(node, index, array)
    return half_of(array, [(node, index)]).tolist()


def test_bounds_saturate_and_infinities_stay() -> None:
    assert rounded("Clip", 2, 1e9, 6.0) == [LARGEST, 6.0]
    assert rounded("Max", 0, -3.4e38, np.inf) == [-LARGEST, np.inf]
    assert not fits_at(at("Add"), 1, np.array([1e9], np.float32))


def test_what_is_added_never_vanishes() -> None:
    assert rounded("Add", 1, 1e-12, -1e-12, 0.0) == [SMALLEST, -SMALLEST, 0.0]
    assert rounded("Clip", 1, 1e-12) == [SMALLEST]
    assert not fits_at(at("Mul"), 1, np.array([1e-12], np.float32))


def test_tables_name_real_operators() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert known >= {*half_numbers._BOUNDS, *half_numbers._ADDED}
