"""A YAML file as plain values, with the place where each of them was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnx_pare.errors import InputError, ManifestError, ProfileError, RecipeError

Keys = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Place:
    """Where something was written: a position in a file, or (line 0) a flag.

    Attributes:
        source: The file as the user named it, or the flag with its value.
        line: Counted from 1.
        column: Counted from 1.
    """

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Document:
    """YAML as plain values, and where each of them was written.

    Attributes:
        data: Dicts with text keys, lists, text, numbers, booleans, None.
        start: Where the document begins.
        keys: The place of each mapping key, by path.
        values: The place of each value, by path.
    """

    data: Any
    start: Place
    keys: Mapping[Keys, Place] = field(default_factory=dict)
    values: Mapping[Keys, Place] = field(default_factory=dict)

    def place(self, path: Keys, *, of_key: bool = False) -> Place:
        """Return where the value (or the key) at `path` was written, or the nearest thing around it."""
        if of_key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, self.start)


@dataclass(frozen=True)
class Form:
    """A kind of file, for messages about files that are none.

    Attributes:
        noun: What such a file is called.
        start: What it starts with.
        keys: Its main keys, in short.
        error: What is raised.
    """

    noun: str
    start: str
    keys: str
    error: type[InputError]


RECIPE = Form("recipe", "version: 1", "version: 1, passes: …", RecipeError)
PROFILE = Form("profile", "title: …", "title: …, kind: …, runtimes: …", ProfileError)
MANIFEST = Form("manifest", "version: 1", "version: 1, models: …", ManifestError)


def kind(value: Any) -> str:
    """Return what a value is, in the words of who writes such files."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def show(value: Any) -> str:
    """Return a value for a message: short, on one line, printable."""
    if isinstance(value, dict | list):
        return kind(value)
    words = {None: "nothing", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def path_text(path: Keys) -> str:
    """Return a path as messages write it: `passes[2].ratio`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")
