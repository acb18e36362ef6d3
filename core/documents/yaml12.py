"""Reading YAML 1.2 with positions, by PyYAML's parser, within limits on size and depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.error import Mark, MarkedYAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from onnx_pare.documents.document import RECIPE, Document, Form, Keys, Place, kind, path_text, show
from onnx_pare.documents.limited import check_size, read_limited
from onnx_pare.documents.scalars import PATTERNS, TAG, read_scalar

MAX_BYTES = 1 << 20
MAX_DEPTH = 30
MAX_VALUES = 10_000


def read_file(name: str, form: Form) -> Document | None:
    """Read the file `name`, or return None if there is no such file.

    Raises:
        InputError: Of the form's class; it cannot be read, or is no such document.
    """
    try:
        if not Path(name).exists():
            return None
    except (OSError, ValueError):  # too long, or with a NUL: reading says so
        pass
    content = read_limited(name, noun=form.noun, max_bytes=MAX_BYTES, error=form.error)
    return read(content, name, form)


def read(content: bytes, source: str, form: Form = RECIPE) -> Document:
    """Read one YAML document that must be a mapping.

    Args:
        content: The file's bytes, UTF-8.
        source: How messages call the file.
        form: What it should be.

    Raises:
        InputError: Of the form's class; it is not such a document. Every problem found has a line of its own.
    """
    check_size(content, source, noun=form.noun, max_bytes=MAX_BYTES, error=form.error)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise form.error(f"{source}:{line}: not UTF-8 text (byte {error.start})") from error
    document = read_text(text, source, form=form)
    if document.data is None:
        raise form.error(f"{source}: is empty", hint=f"A {form.noun} starts with '{form.start}'.")
    if not isinstance(document.data, dict):
        raise form.error(
            f"{document.start}: a {form.noun} is a mapping ({form.keys}), not {kind(document.data)}"
        )
    return document


def read_text(text: str, source: str, *, positions: bool = True, form: Form = RECIPE) -> Document:
    """Read one YAML document of any kind; with `positions` off every place is `source` itself.

    Raises:
        InputError: Of the form's class; it is not valid, or holds what such a file cannot hold.
    """
    builder = _Builder(source, positions, form)
    node = _compose(text, builder)
    if node is None:
        return Document(None, Place(source))
    data = builder.build(node, ())
    if builder.problems:
        raise form.error("\n".join(builder.problems))
    return Document(data, builder.values[()], builder.keys, builder.values)


class _RefusedError(MarkedYAMLError):
    """Valid YAML beyond the limits."""


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the types of YAML 1.2, and limits on size and depth."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own way
    depth = 0
    count = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self.depth += 1
        self.count += 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.depth > MAX_DEPTH:
            raise _RefusedError(problem=f"nests deeper than {MAX_DEPTH} levels", problem_mark=mark)
        if self.count > MAX_VALUES:
            raise _RefusedError(problem=f"holds more than {MAX_VALUES} values", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _tag, _pattern in PATTERNS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, None)


def _compose(text: str, builder: _Builder) -> Node | None:
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except _RefusedError as error:
        raise builder.form.error(f"{builder.place(error.problem_mark)}: {error.problem}") from error
    except MarkedYAMLError as error:
        said = ", ".join(part for part in (error.context, error.problem) if part)
        where = builder.place(error.problem_mark or error.context_mark)
        raise builder.form.error(f"{where}: not valid YAML: {said:.300}") from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        source = f"{builder.source}:{line}" if builder.positions else builder.source
        raise builder.form.error(
            f"{source}: not valid YAML: character {error.character!r} is not allowed"
        ) from error
    except (ValueError, OverflowError) as error:  # PyYAML, on escapes beyond Unicode and endless versions
        raise builder.form.error(f"{builder.source}: not valid YAML: {error}") from error


class _Builder:
    """Turns nodes into plain values, noting places and problems."""

    def __init__(self, source: str, positions: bool, form: Form) -> None:
        self.source = source
        self.form = form
        self.problems: list[str] = []
        self.keys: dict[Keys, Place] = {}
        self.values: dict[Keys, Place] = {}
        self.positions = positions

    def place(self, mark: Mark | None) -> Place:
        if mark is None or not self.positions:
            return Place(self.source)
        return Place(self.source, mark.line + 1, mark.column + 1)

    def build(self, node: Node, path: Keys) -> Any:
        self.values[path] = self.place(node.start_mark)
        if len(path) > MAX_DEPTH or len(self.values) > MAX_VALUES:
            limits = f"{MAX_VALUES} values or {MAX_DEPTH} levels"
            raise self.form.error(
                f"{self.place(node.start_mark)}: with its aliases it holds more than {limits}"
            )
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if node.tag not in (f"{TAG}seq", f"{TAG}map"):
            return self._problem(node, path, f"unknown tag {show(node.tag.removeprefix(TAG))}")
        if isinstance(node, MappingNode) and node.tag == f"{TAG}map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == f"{TAG}seq":
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._problem(node, path, f"does not fit the tag '{node.tag.removeprefix(TAG)}'")

    def _problem(self, node: Node, path: Keys, text: str) -> None:
        prefix = f"{path_text(path)}: " if path else ""
        self.problems.append(f"{self.place(node.start_mark)}: {prefix}{text}")

    def _mapping(self, node: MappingNode, path: Keys) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node, path) if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str):
                self._problem(key_node, path, "a key must be text")
                continue
            here: Keys = (*path, key)
            if key in built:
                self._problem(key_node, path, f"key {show(key)} is given twice, first at {self.keys[here]}")
                continue
            self.keys[here] = self.place(key_node.start_mark)
            built[key] = self.build(value_node, here)
        return built

    def _scalar(self, node: ScalarNode, path: Keys) -> Any:
        try:
            return read_scalar(node.tag, node.value)
        except ValueError as error:
            return self._problem(node, path, str(error))
