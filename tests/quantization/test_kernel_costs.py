from __future__ import annotations

from math import hypot

import pytest

from onnx_pare.hw_profiles.cpu import CpuFeatures
from onnx_pare.quantization.kernel_costs import TABLES, Row, kernel_costs
from onnx_pare.quantization.work import Work, convolution

VNNI = CpuFeatures("a CPU", "x86", 2, ("AVX2", "AVX512F", "AVX512-VNNI"))
POINTWISE = convolution(1, (1, 128, 28, 28), (256, 128, 1, 1), (1, 256, 28, 28))


def test_a_time_follows_the_formula():
    row = Row(2.0, 0.5, mac_ps=10.0, depth=4.0, width=8.0, positions=16.0)
    size = Work("convolution", macs=10**6, elements=1000, gathered=3000, depth=8, width=16, positions=32)
    h = 1 + 4 / 8 + 8 / 16 + 16 / 32
    assert row.us(size) == pytest.approx(2 + hypot(10**6 * h * 10e-6, 0.5))
    assert row.us(size, gathers=True) == pytest.approx(2 + hypot(10**6 * h * 10e-6, 2.0))


def test_a_cpu_of_the_table_is_told_from_others():
    assert kernel_costs(VNNI).exact
    assert kernel_costs(VNNI).other_cpu() == ()
    for cpu in (CpuFeatures("old", "x86", 2, ("AVX2",)), CpuFeatures("arm", "arm", 4, ("DotProd",))):
        assert not kernel_costs(cpu).exact
        assert "which this CPU is not" in kernel_costs(cpu).other_cpu()[0]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_tells_what_is_known_of_these_kernels(name: str):
    costs = kernel_costs(VNNI)
    first = convolution(1, (1, 3, 224, 224), (16, 3, 3, 3), (1, 16, 112, 112))
    assert costs.name == name
    assert costs.float_us(POINTWISE) > 2 * costs.int8_us(POINTWISE)
    assert costs.float_us(first) < costs.int8_us(first)
    for part in (costs.float32, costs.int8):
        assert {"convolution", "pointwise", "depthwise", "grouped", "product", "other"} <= part.keys()
        assert all(row.overhead_us >= 0 and row.element_ns >= 0 for row in part.values())


def test_an_operator_that_no_profile_held_gets_the_other_row():
    costs, size = kernel_costs(VNNI), Work("Unheard", 0, 1000)
    assert costs.int8_us(size) == costs.int8["other"].us(size)
    assert costs.float_us(size) == costs.float32["other"].us(size)
