"""Reading JSON that somebody else wrote (reports, journals, profiles), within limits on size and depth.

Stricter than Python's reader, as other programs are: no NaN or infinity, no key given twice, no text that
UTF-8 cannot hold (https://www.rfc-editor.org/rfc/rfc8259).
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

from onnx_pare.documents.document import show
from onnx_pare.documents.limited import check_size, read_limited
from onnx_pare.errors import InputError

# Python spends up to 20 bytes on one of JSON
MAX_BYTES = 16 << 20
MAX_DEPTH = 32
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(
    path: Path,
    *,
    noun: str,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    error: type[InputError] = InputError,
) -> Any:
    """Return what the JSON file at `path` holds: dicts, lists, text, numbers, booleans, None.

    Args:
        path: The file.
        noun: What the file should be, such as "report", for messages.
        max_bytes: The size it may have.
        max_depth: How deep lists and mappings may nest.
        error: What is raised.

    Raises:
        InputError: Of the class `error`; it is missing, unreadable, too large, nests too deep or is not
            JSON.
    """
    content = read_limited(path, noun=noun, max_bytes=max_bytes, error=error)
    return parse_json(content, str(path), noun=noun, max_bytes=max_bytes, max_depth=max_depth, error=error)


def parse_json(
    content: bytes,
    source: str,
    *,
    noun: str,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    error: type[InputError] = InputError,
) -> Any:
    """Return the JSON value that `content` is; arguments and errors are those of `read_json`.

    Args:
        content: UTF-8 text, for one a line of a journal.
        source: How messages call it, such as `journal.jsonl:7`.
    """
    check_size(content, source, noun=noun, max_bytes=max_bytes, error=error)
    try:
        data = json.loads(content.decode("utf-8-sig"), **_STRICT)
        if _SURROGATE.search(content):
            json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as problem:
        where = f"{source}:{problem.lineno}:{problem.colno}"
        raise error(f"{where}: not valid JSON: {problem.msg}; not a {noun}, or cut short") from problem
    except (ValueError, RecursionError) as problem:
        deep = f"nests deeper than {max_depth} levels"
        reason = deep if isinstance(problem, RecursionError) else f"not valid JSON: {_reason(problem)}"
        raise error(f"{source}: {reason}; not a {noun}") from problem
    if _deeper(data, max_depth):
        raise error(f"{source}: nests deeper than {max_depth} levels; not a {noun}")
    return data


def _deeper(data: Any, limit: int) -> bool:
    """Return whether lists and mappings nest deeper than `limit`."""
    level = [data]
    for _ in range(limit):
        level = [inner for value in level for inner in _containers(value)]
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)


def _containers(value: Any) -> list[Any]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [inner for inner in inside if isinstance(inner, dict | list)]


def _reason(problem: ValueError) -> str:
    if isinstance(problem, UnicodeDecodeError):
        return f"not UTF-8 text (byte {problem.start})"
    if isinstance(problem, UnicodeEncodeError):
        return "it holds half of a surrogate pair"
    return str(problem).split(";")[0].split(":")[0]


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {show(twice)} is given twice")
    return built


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a finite number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{show(text)} is not a finite number")
    return number


_STRICT: dict[str, Any] = {
    "object_pairs_hook": _mapping,
    "parse_constant": _constant,
    "parse_float": _float,
}
