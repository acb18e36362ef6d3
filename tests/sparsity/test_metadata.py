"""Zero fractions as metadata: what is written is read again."""

from __future__ import annotations

import onnx_ir as ir

from onnx_pare.sparsity.metadata import (
    Measurement,
    Zeros,
    read_measurement,
    read_zero_fraction,
    read_zeros,
    write_measurement,
    write_zeros,
)

TEXT = '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Relu (x) }'


def test_keys_and_texts() -> None:
    node = next(iter(ir.from_onnx_text(TEXT).graph))
    assert write_zeros(node, Zeros(1 / 3, 1, (0.5, 1 / 6, 1.0), (2,)))
    assert dict(node.metadata_props) == {
        "onnx_pare.zero_fraction": "0.333333",
        "onnx_pare.zero_fraction_per_channel": "[0.5,0.1667,1.0]",
        "onnx_pare.channel_axis": "1",
        "onnx_pare.dead_channels": "[2]",
    }


def test_round_trip() -> None:
    node = next(iter(ir.from_onnx_text(TEXT).graph))
    assert (read_zero_fraction(node), read_zeros(node)) == (None, None)
    zeros = Zeros(0.25, 2, (0.5, 0.0), ())
    write_zeros(node, zeros)
    assert (read_zero_fraction(node), read_zeros(node)) == (0.25, zeros)
    assert not write_zeros(node, zeros)


def test_without_channels() -> None:
    node = next(iter(ir.from_onnx_text(TEXT).graph))
    write_zeros(node, Zeros(0.25, 1, (0.25,), (0,)))
    assert write_zeros(node, Zeros(0.5))
    assert read_zeros(node) == Zeros(0.5)


def test_measurement() -> None:
    model = ir.from_onnx_text(TEXT)
    model.metadata_props["other"] = "stays"
    assert read_measurement(model) is None
    measurement = Measurement(128, "images", False, 0.5, "onnx-pare 1")
    assert write_measurement(model, measurement)
    assert read_measurement(model) == measurement
    assert not write_measurement(model, measurement)
    assert model.metadata_props["other"] == "stays"
