"""Metadata carried over from one model to another."""

from __future__ import annotations

import onnx_ir as ir

from onnx_pare.graph.metadata import carry_metadata

HEAD = '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) '


def described(text: str, word: str) -> ir.Model:
    model = ir.from_onnx_text(HEAD + text)
    model.producer_name, model.doc_string, model.graph.doc_string = word, word, word
    model.metadata_props["key"] = word
    for index, node in enumerate(model.graph):
        node.name = f"{word}_{index}"
        node.doc_string = node.metadata_props["key"] = f"{word} {node.op_type}"
        node.outputs[0].metadata_props["key"] = f"{word} value"
    return model


def test_all_of_it() -> None:
    source = described("{ a = Relu (x)  b = Identity (a)  y = Neg (b) }", "old")
    target = described("{ a = Relu (x)  y = Neg (a) }", "new")
    target.metadata_props["added"] = "by a tool"
    carry_metadata(source, target)
    assert (target.producer_name, target.doc_string, target.graph.doc_string) == ("old", "old", "old")
    assert dict(target.metadata_props) == {"key": "old"}
    assert [(node.name, node.metadata_props["key"]) for node in target.graph] == [
        ("old_0", "old Relu"),
        ("old_2", "old Neg"),
    ]
    assert [node.outputs[0].metadata_props["key"] for node in target.graph] == ["old value"] * 2


def test_another_operator_under_the_same_name_takes_nothing() -> None:
    source = described("{ y = Relu (x) }", "old")
    target = described("{ y = Neg (x) }", "new")
    carry_metadata(source, target)
    assert [(node.name, node.doc_string) for node in target.graph] == [("new_0", "new Neg")]


def test_a_renamed_output_is_found_by_the_name_of_its_node() -> None:
    source = described("{ a = Relu (x)  y = Neg (a) }", "old")
    target = ir.from_onnx_text(HEAD + "{ z = Relu (x)  y = Neg (z) }")
    for index, node in enumerate(target.graph):
        node.name = f"old_{index}"
    carry_metadata(source, target)
    assert [node.metadata_props["key"] for node in target.graph] == ["old Relu", "old Neg"]
