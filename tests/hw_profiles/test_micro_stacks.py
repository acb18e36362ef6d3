"""Stacks check and run, and are of the class that they are named for."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from onnx_pare.cost.count import count
from onnx_pare.cost.kernels import kernels
from onnx_pare.graph.shapes import infer
from onnx_pare.hw_profiles.calibrate import COSTS
from onnx_pare.hw_profiles.micro_stacks import STACKS
from onnx_pare.hw_profiles.micronet import Micro
from tests.hw_profiles.optimized import optimized

CHEAP = ("pointwise 32", "depthwise 960", "addition", "softmax", "copies", "silu")


@pytest.mark.parametrize(
    "micro", [one for one in STACKS if one.name.startswith(CHEAP)], ids=lambda micro: micro.name
)
def test_stacks_run(tmp_path: Path, micro: Micro) -> None:
    assert "QuantizeLinear" not in optimized(tmp_path, micro, integers=False)


def test_every_class_of_layers_is_there() -> None:
    seen = set()
    for micro in STACKS:
        model = ir.serde.deserialize_model(micro.build(integers=False)[0])
        shapes = infer(model, {"input": micro.shape})
        seen |= {kernel.op_class for kernel in kernels(model, shapes, count(model, shapes), COSTS)}
    assert {"stem", "pointwise", "conv3x3", "conv_strided", "conv", "depthwise", "depthwise_large"} <= seen
    assert {"grouped", "grouped_uneven", "depthwise_uneven", "linear", "fully_connected", "matmul"} <= seen
    assert {"softmax", "normalization", "pool", "reduce", "copy", "elementwise", "function"} <= seen
