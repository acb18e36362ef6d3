"""Zero fractions as metadata: what is written is read again."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from onnx_pare.errors import ModelError
from onnx_pare.sparsity.metadata import (
    read_input,
    read_measurement,
    read_negatives,
    read_zero_fraction,
    read_zeros,
    write_input,
    write_measurement,
    write_negatives,
    write_zeros,
)
from onnx_pare.sparsity.share import Measurement, Share, Zeros

TEXT = '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Relu (x) }'


def test_keys_and_texts() -> None:
    node = next(iter(ir.from_onnx_text(TEXT).graph))
    assert write_zeros(node, Zeros(1 / 3, 1, (0.5, 1 / 6, 1.0), (2,), p10=0.3, p90=0.4125))
    assert dict(node.metadata_props) == {
        "onnx_pare.zero_fraction": "0.333333",
        "onnx_pare.zero_fraction_p10": "0.300",
        "onnx_pare.zero_fraction_p90": "0.412",
        "onnx_pare.zero_fraction_per_channel": "[0.5,0.1667,1.0]",
        "onnx_pare.zero_fraction_histogram": "[0,1,0,0,0,1,0,0,0,1]",
        "onnx_pare.channel_axis": "1",
        "onnx_pare.dead_channels": "[2]",
    }


def test_what_older_versions_wrote_is_read() -> None:
    node = next(iter(ir.from_onnx_text(TEXT).graph))
    node.metadata_props.update(
        {
            "onnx_pare.zero_fraction": "0.750000",
            "onnx_pare.zero_fraction_per_channel": "[0.5,1.0]",
            "onnx_pare.channel_axis": "1",
            "onnx_pare.dead_channels": "[1]",
        }
    )
    assert read_zeros(node) == Zeros(0.75, 1, (0.5, 1.0), (1,))


def test_round_trip() -> None:
    node = next(iter(ir.from_onnx_text(TEXT).graph))
    assert (read_zero_fraction(node), read_zeros(node)) == (None, None)
    zeros = Zeros(0.25, 2, (0.5, 0.0), (), p10=0.2, p90=0.3)
    write_zeros(node, zeros)
    assert (read_zero_fraction(node), read_zeros(node)) == (0.25, zeros)
    assert not write_zeros(node, zeros)


def test_without_channels() -> None:
    node = next(iter(ir.from_onnx_text(TEXT).graph))
    write_zeros(node, Zeros(0.25, 1, (0.25,), (0,)))
    assert write_zeros(node, Zeros(0.5))
    assert read_zeros(node) == Zeros(0.5)


def test_a_slope_has_a_negative_share_and_no_zeros() -> None:
    node = next(iter(ir.from_onnx_text(TEXT).graph))
    write_zeros(node, Zeros(0.25, 1, (0.25,), (0,), p10=0.1, p90=0.3))
    share = Share(0.5, 1, (0.25, 0.75), p10=0.4, p90=0.6)
    assert write_negatives(node, share)
    assert (read_negatives(node), read_zeros(node)) == (share, None)
    assert not write_negatives(node, share)
    assert not [key for key in node.metadata_props if "zero" in key or "dead" in key]


def test_inputs_have_keys_of_their_own() -> None:
    node = next(iter(ir.from_onnx_text(TEXT).graph))
    output, first, third = Zeros(0.5, 1, (0.5,)), Share(0.25, 1, (0.25,)), Share(0.75, 2, (0.5, 1.0))
    write_zeros(node, output)
    assert write_input(node, 0, first)
    assert write_input(node, 3, third)
    assert (read_zeros(node), read_input(node, 0), read_input(node, 3)) == (output, first, third)
    assert read_input(node, 1) is None
    assert write_input(node, 0, Share(0.0, 1, (0.0,) * 4096))
    assert read_input(node, 0) == Share(0.0)
    assert not [key for key in node.metadata_props if key.startswith("onnx_pare.input_0.zero_fraction_")]


def test_measurement() -> None:
    model = ir.from_onnx_text(TEXT)
    model.metadata_props["other"] = "stays"
    assert read_measurement(model) is None
    measurement = Measurement(128, "images", False, 0.5, "onnx-pare 1")
    assert write_measurement(model, measurement)
    assert read_measurement(model) == measurement
    assert not write_measurement(model, measurement)
    assert model.metadata_props["other"] == "stays"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("zero_fraction", "many"),
        ("zero_fraction", "nan"),
        ("zero_fraction", "1e999"),
        ("zero_fraction_p10", "-1"),
        ("zero_fraction_per_channel", "[" * 9999),
        ("zero_fraction_per_channel", '{"a": 1}'),
        ("zero_fraction_per_channel", '["a"]'),
        ("channel_axis", "9" * 5000),
        ("dead_channels", "[null]"),
    ],
)
def test_metadata_that_somebody_else_wrote(key: str, text: str) -> None:
    node = ir.Node("", "Relu", [], name="r")
    node.metadata_props.update({"onnx_pare.zero_fraction": "0.5", f"onnx_pare.{key}": text})
    with pytest.raises(ModelError) as caught:
        read_zeros(node)
    assert "metadata" in caught.value.message
    model = ir.from_onnx_text('<ir_version: 8, opset_import: ["": 17]> g (float[1] x) => (float[1] x) {}')
    model.metadata_props["onnx_pare.sparsity.samples"] = text
    with pytest.raises(ModelError, match=r"^the model: its metadata"):
        read_measurement(model)
