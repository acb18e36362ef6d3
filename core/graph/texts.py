"""The names in a raw ONNX protobuf: text, short, and without what moves a terminal's cursor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.errors import ModelError

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message

MAX_NAME = 4096
# controls, line and paragraph separators, and what turns the direction of writing
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# what people write, and only read back
_PROSE = frozenset({"doc_string", "producer_name", "producer_version", "key", "value"})


def check_texts(proto: onnx.ModelProto, path: Path) -> None:
    """Hold all texts of a model against what messages, tables and other programs can show.

    Raises:
        ModelError: A text is not UTF-8, or a name holds a control character or is longer than MAX_NAME.
    """
    for field, text in texts(proto):
        if isinstance(text, bytes):
            said = f"holds a name that is not UTF-8: {text[:40]!r}"
            raise ModelError(f"{path}: {said}", hint="The file is damaged.")
        if field in _PROSE:
            continue
        if _CONTROLS.search(text):
            said = f"holds a name with a control character: {text[:40]!r}"
            raise ModelError(f"{path}: {said}", hint="Export the model with plain names.")
        if len(text) > MAX_NAME:
            said = f"holds a name of {len(text)} characters, the limit is {MAX_NAME}: '{text[:40]}…'"
            raise ModelError(f"{path}: {said}", hint="Export the model with shorter names.")


def texts(message: Message) -> Iterator[tuple[str, str | bytes]]:
    """Yield field name and text of all texts in a message, as bytes where they are not UTF-8.

    Contents of tensors are not read.
    """
    for field, value in message.ListFields() if not _is_tensor(message) else _tensor_texts(message):
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        for entry in (value,) if isinstance(value, (str, bytes)) or hasattr(value, "ListFields") else value:
            if isinstance(entry, (str, bytes)):
                yield field.name, entry
            else:
                yield from texts(entry)


def _is_tensor(message: Message) -> bool:
    name: str = message.DESCRIPTOR.name
    return name == "TensorProto"


def _tensor_texts(message: Message) -> Iterator[tuple[Any, Any]]:
    fields = message.DESCRIPTOR.fields_by_name
    for name in ("name", "doc_string", "external_data"):
        yield fields[name], getattr(message, name)
