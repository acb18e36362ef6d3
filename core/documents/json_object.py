"""Reading a JSON file that somebody else may have written, within limits on its size and depth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onnx_pare.errors import InputError

MAX_BYTES = 64 << 20


def read_object(path: Path, noun: str, error: type[InputError]) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: The file.
        noun: What it should be, for messages.
        error: What is raised.

    Raises:
        InputError: Of the class `error`; it cannot be read, is too large or too deep, or holds no object.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the name
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{path}: cannot be read: {reason}") from problem
    if len(content) > MAX_BYTES:
        raise error(f"{path}: is larger than {MAX_BYTES >> 20} MiB; not a {noun}")
    try:
        found = json.loads(content, parse_constant=_refuse)
    except RecursionError as problem:
        raise error(f"{path}: nests too deeply; not a {noun}") from problem
    except ValueError as problem:  # not UTF-8, or not JSON
        raise error(f"{path}: not JSON: {problem!s:.200}") from problem
    if not isinstance(found, dict):
        raise error(f"{path}: not a {noun}: it holds no JSON object")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
