"""The formula, on kernels whose time can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.cost.kernels import Kernel
from onnx_pare.cost.op_classes import OP_CLASSES
from onnx_pare.hw_profiles.predictor import (
    CLASSES,
    ClassCost,
    Rates,
    Work,
    cost_table,
    factor_row,
    kernel_times,
)

RATES = Rates(work_per_s=1e9, bytes_per_s=1e8, overhead_s=1e-5)


def conv(**changes: object) -> Kernel:
    facts: dict[str, object] = {
        "name": "c",
        "op": "Conv",
        "op_class": "conv3x3",
        "nodes": 1,
        "macs": 3_000_000,
        "read_bytes": 100_000,
        "written_bytes": 200_000,
        "weight_bytes": 100_000,
        "elements": 50_000,
        "inner": 8,
        "outer": 16,
        "rows": 100,
        "window": 9,
    }
    return Kernel(**{**facts, **changes})  # type: ignore[arg-type]


def test_compute_and_memory_overlap() -> None:
    found = kernel_times([conv()], {}, RATES)
    assert found.compute_s[0] == pytest.approx(3e-3)
    assert found.memory_s[0] == pytest.approx(4e-3)
    assert found.overhead_s[0] == pytest.approx(1e-5)
    assert found.total_s[0] == pytest.approx(5e-3 + 1e-5)


def test_class_costs() -> None:
    cost = ClassCost(compute=2, memory=0.5, weights=3, launch=4, inner=72, outer=16, rows=50)
    found = kernel_times([conv()], {"conv3x3": cost}, RATES)
    # h = 1 + 72 / (8·9) + 16 / 16 + 50 / 100
    assert found.compute_s[0] == pytest.approx(3e-3 * 2 * 3.5)
    assert found.memory_s[0] == pytest.approx((0.5 * 300_000 + 3 * 100_000) / 1e8)
    assert found.overhead_s[0] == pytest.approx(4e-5)


def test_a_factor_slows_compute_and_memory() -> None:
    plain = kernel_times([conv()], {}, RATES)
    slow = kernel_times([conv()], {}, Rates(1e9, 1e8, 1e-5, {"conv3x3": 2.0, "copy": 9.0}))
    assert slow.compute_s[0] == 2 * plain.compute_s[0]
    assert slow.memory_s[0] == 2 * plain.memory_s[0]
    assert slow.overhead_s[0] == plain.overhead_s[0]


def test_without_macs_elements_count() -> None:
    found = kernel_times([conv(op_class="elementwise", macs=0, inner=0)], {}, RATES)
    assert found.compute_s[0] == pytest.approx(50_000 / 1e9)


def test_classes_have_one_order() -> None:
    assert tuple(OP_CLASSES) == CLASSES
    table = cost_table({"copy": ClassCost(compute=7.0)})
    assert table.shape == (len(CLASSES), 7)
    assert table[CLASSES.index("copy"), 0] == 7.0
    assert factor_row({"copy": 3.0})[CLASSES.index("copy")] == 3.0


def test_no_kernels_take_no_time() -> None:
    assert Work.of([]).amount.shape == (0,)
    assert float(np.sum(kernel_times([], {}, RATES).total_s)) == 0.0
