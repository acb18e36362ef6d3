from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from onnx_pare.errors import ModelError
from onnx_pare.graph.texts import MAX_NAME, check_texts

PATH = Path("m.onnx")


def named(name: str) -> onnx.ModelProto:
    proto = onnx.ModelProto(doc_string="two\nlines", producer_name="\x1b")
    proto.metadata_props.add(key="\t", value="\n")
    proto.graph.node.add(op_type="Relu", input=[name], doc_string="\r\n")
    return proto


@pytest.mark.parametrize("name", ["", "a b/c:0", "é\U0001f600", "a" * MAX_NAME])
def test_names_that_are_fine(name: str) -> None:
    check_texts(named(name), PATH)


@pytest.mark.parametrize("name", ["a\nb", "\0", "\x1b[31m", "\x7f", "\x85", "a\u2028", "\u202eexe"])
def test_names_that_move_the_cursor(name: str) -> None:
    with pytest.raises(ModelError, match=r"^m\.onnx: holds a name with a control character: ") as caught:
        check_texts(named(name), PATH)
    assert caught.value.message.isprintable()


def test_endless_names() -> None:
    with pytest.raises(
        ModelError, match=f"holds a name of {MAX_NAME + 1} characters, the limit is {MAX_NAME}"
    ):
        check_texts(named("a" * (MAX_NAME + 1)), PATH)


def test_attributes_and_subgraphs_are_looked_into() -> None:
    proto = named("x")
    inner = proto.graph.node[0].attribute.add(name="body").g
    inner.initializer.add(name="w\n")
    with pytest.raises(ModelError, match="control character"):
        check_texts(proto, PATH)


def test_names_that_are_not_utf8() -> None:
    content = named("MARK").SerializeToString().replace(b"MARK", b"\xff\xfe\xff\xff")
    with pytest.raises(ModelError, match=r"holds a name that is not UTF-8: b'\\xff"):
        check_texts(onnx.ModelProto.FromString(content), PATH)
