"""Layers are built as they are asked for, in floats and in bytes."""

from __future__ import annotations

from onnx_pare.hw_profiles.micro_networks import NETWORKS
from onnx_pare.hw_profiles.micronet import MicroNet


def test_a_tensor_is_stored_once() -> None:
    net = MicroNet(1, 8, 4, 4, integers=True)
    both = net.stored("Add", net.conv(net.input, 8), net.conv(net.input, 8))
    ops = [node.op_type for node in net.model(both).graph.node]
    # the input, two convolutions, the sum
    assert ops.count("QuantizeLinear") == 4


def test_a_network_is_always_the_same() -> None:
    first, second = (NETWORKS[0].build(integers=False)[0] for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()
