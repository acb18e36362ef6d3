"""Small networks check, run, and compute in what they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx_pare.graph.session import Session
from onnx_pare.hw_profiles.micro_networks import NETWORKS
from onnx_pare.hw_profiles.micro_stacks import STACKS
from onnx_pare.hw_profiles.micronet import Micro, MicroNet

CHEAP = [
    one for one in STACKS if one.name.startswith(("pointwise 32", "addition", "softmax", "copies", "silu"))
]


def optimized(tmp_path: Path, micro: Micro, *, integers: bool) -> list[str]:
    """Run a network in onnxruntime, and return the operators that it really ran."""
    proto, feeds = micro.build(integers=integers)
    onnx.checker.check_model(proto, full_check=True)
    path = tmp_path / "micro.onnx"
    onnx.save(proto, path)
    session = Session(path, optimized_path=tmp_path / "optimized.onnx")
    assert all(np.isfinite(output).all() for output in session.run(feeds))
    return [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]


@pytest.mark.parametrize("micro", [*NETWORKS, *CHEAP], ids=lambda micro: micro.name)
def test_networks_run_in_floats(tmp_path: Path, micro: Micro) -> None:
    assert "QuantizeLinear" not in optimized(tmp_path, micro, integers=False)


@pytest.mark.parametrize("micro", NETWORKS, ids=lambda micro: micro.name)
def test_networks_run_in_integers(tmp_path: Path, micro: Micro) -> None:
    ops = optimized(tmp_path, micro, integers=True)
    assert {"QLinearConv", "MatMulIntegerToFloat", "QLinearMatMul", "QGemm"} & set(ops)
    assert "Conv" not in ops or micro.name == "modernized blocks"


def test_names_are_unique() -> None:
    names = [one.name for one in (*NETWORKS, *STACKS)]
    assert len(names) == len(set(names))


def test_a_tensor_is_stored_once() -> None:
    net = MicroNet(1, 8, 4, 4, integers=True)
    both = net.stored("Add", net.conv(net.input, 8), net.conv(net.input, 8))
    ops = [node.op_type for node in net.model(both).graph.node]
    # the input, two convolutions, the sum
    assert ops.count("QuantizeLinear") == 4


def test_a_network_is_always_the_same() -> None:
    first, second = (NETWORKS[0].build(integers=False)[0] for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()
