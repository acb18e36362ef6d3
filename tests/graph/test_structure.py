"""Graphs that do not hang together are refused by name."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.defs
import onnx.parser
import pytest
from onnx import TensorProto, helper

from onnx_pare.errors import ModelError
from onnx_pare.graph.load import load_model

NEWEST = onnx.defs.onnx_opset_version()


def refused(proto: onnx.ModelProto, folder: Path, said: str) -> ModelError:
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=said) as caught:
        load_model(path)
    return caught.value


def chain(*nodes: onnx.NodeProto, version: int = 17, domain: str = "") -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes), "g", [value("x", TensorProto.FLOAT, [2])], [value("y", TensorProto.FLOAT, [2])]
    )
    imports = [helper.make_opsetid(domain, version)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def relu(source: str, target: str, **fields: str) -> onnx.NodeProto:
    return helper.make_node("Relu", [source], [target], **fields)


@pytest.mark.parametrize(("version", "hint"), [(6, "Export the model again"), (NEWEST + 1, "newer onnx")])
def test_unknown_opset(version: int, hint: str, tmp_path: Path) -> None:
    error = refused(chain(relu("x", "y"), version=version), tmp_path, f"opset {version} is not supported")
    assert hint in error.hint


def test_two_default_opsets(tmp_path: Path) -> None:
    proto = chain(relu("x", "y"))
    proto.opset_import.add(domain="ai.onnx", version=16)
    refused(proto, tmp_path, "imports its opset twice, as 16 and 17")


def test_unknown_domain_and_operator(tmp_path: Path) -> None:
    proto = chain(relu("x", "y", domain="acme", name="first"))
    proto.opset_import.add(domain="acme", version=1)
    refused(proto, tmp_path, "node 'first': operator Relu of unknown domain 'acme'")
    refused(chain(helper.make_node("Rellu", ["x"], ["y"])), tmp_path, "opset 17 has no operator 'Rellu'")
    refused(chain(relu("x", "y"), domain="ai.onnx.ml", version=2), tmp_path, "no default opset is imported")


def test_names(tmp_path: Path) -> None:
    refused(chain(relu("x", "y"), relu("x", "y")), tmp_path, "value 'y' is defined 2 times")
    refused(chain(relu("x", "x"), relu("x", "y")), tmp_path, "value 'x' is defined 2 times")
    refused(chain(relu("q", "y", name="n")), tmp_path, r"node 'n' \(Relu\) reads 'q', which nothing makes")
    refused(chain(relu("x", "z")), tmp_path, "output 'y' is made by no node")
    proto = chain(relu("x", "y"))
    proto.graph.input.append(proto.graph.input[0])
    refused(proto, tmp_path, "input 'x' is defined 2 times")
    proto = chain(relu("x", "y"))
    for _ in range(2):
        proto.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]))
    refused(proto, tmp_path, "initializer 'w' is defined 2 times")
    proto = chain(relu("x", "y"))
    content = proto.SerializeToString().replace(b"Relu", b"Re\xff\xfe")
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="not UTF-8"):
        load_model(tmp_path / "m.onnx")


def test_cycle_is_named(tmp_path: Path) -> None:
    add = helper.make_node("Add", ["x", "c"], ["a"], name="one")
    proto = chain(add, relu("a", "b", name="two"), relu("b", "c", name="three"), relu("c", "y", name="out"))
    error = refused(proto, tmp_path, "the graph has a cycle: ")
    assert all(f"'{name}'" in error.message for name in ("one", "two", "three"))
    assert "'out'" not in error.message


def nested(levels: int) -> onnx.ModelProto:
    text = "h = Identity(x)"
    for level in range(levels):
        text = (
            f"h = If (c) <then_branch = t{level} () => (float[2] h{level}) {{ {text} h{level} = Neg(h) }}, "
            f"else_branch = e{level} () => (float[2] o{level}) {{ o{level} = Neg(x) }}>"
        )
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
            g (float[2] x, bool c) => (float[2] y) {{ {text} y = Neg(h) }}"""
    )


def test_nesting(tmp_path: Path) -> None:
    refused(nested(17), tmp_path, "subgraphs nest deeper than 16 levels")
    (tmp_path / "good.onnx").write_bytes(nested(3).SerializeToString())
    assert len(list(load_model(tmp_path / "good.onnx").graphs())) == 7


def test_functions(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17, "mine" : 1]>
        g (float[2] x) => (float[2] y) {{ y = mine.f(x) }}
        <domain: "mine", opset_import: ["" : 17]> f (a) => ({output}) {{ b = {op}(a, {read}) }}"""
    cases = {
        ("b", "Add", "q"): r"\(Add\) reads 'q', which nothing makes",
        ("c", "Add", "a"): "function 'f': output 'c' is made by no node",
        ("b", "Adds", "a"): "has no operator 'Adds'",
    }
    for (output, op, read), said in cases.items():
        refused(onnx.parser.parse_model(text.format(output=output, op=op, read=read)), tmp_path, said)


def test_attribute_without_content(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["y"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
    refused(chain(constant), tmp_path, "attribute 'value' holds nothing")
