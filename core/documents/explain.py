"""Turning pydantic's errors into lines a recipe writer can act on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from onnx_pare.documents.document import Document, Keys, Place, path_text, show
from onnx_pare.documents.suggest import suggest

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

# error type of pydantic -> what the value should be; {…} are fields of the error's context
_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "left out",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_too_short": "at least {min_length} characters long",
    "literal_error": "{expected}",
    "enum": "{expected}",
}


def explain(
    error: ValidationError, document: Document, known_keys: Callable[[Keys], Sequence[str]]
) -> list[str]:
    """Return one line per problem, `place: path: what is wrong`, in the order of the file.

    Args:
        error: What pydantic found; the first steps of its locations are paths into the document.
        document: What was validated.
        known_keys: Returns the keys allowed in the mapping at a path, for suggestions.
    """
    found: dict[tuple[Place, str, str], list[str]] = {}
    for item in error.errors(include_url=False):
        if item["type"] in ("too_short", "too_long") and _within(item, error):
            continue  # items that are wrong themselves were not counted
        place, path, subject, text = _problem(item, document, known_keys)
        texts = found.setdefault((place, path, subject), [])
        if text not in texts:
            texts.append(text)
    return [
        f"{place}: {f'{path}: ' if path else ''}{' or '.join(texts)}{subject}"
        for (place, path, subject), texts in sorted(found.items())
    ]


def _problem(
    item: ErrorDetails, document: Document, known_keys: Callable[[Keys], Sequence[str]]
) -> tuple[Place, str, str, str]:
    """Return where, the path, the end of the sentence, and the sentence."""
    path = _visible(item["loc"], document.data)
    if item["type"] == "extra_forbidden":
        key = str(item["loc"][-1])
        text = f"unknown key {show(key)}{suggest(key, known_keys(path[:-1]))}"
        return document.place(path, of_key=True), path_text(path[:-1]), "", text
    place, where = document.place(path), path_text(path)
    if item["type"] == "missing":
        return place, where, "", f"key '{item['loc'][-1]}' is missing"
    context = item.get("ctx", {})
    if item["type"] in ("value_error", "assertion_error"):
        return place, where, "", str(context["error"])
    if item["type"] in ("too_short", "too_long"):
        return place, where, "", _count(context)
    wanted = _WANTED.get(item["type"])
    text = f"should be {wanted.format(**context)}" if wanted else _own_words(item["msg"])
    return place, where, f", not {show(item['input'])}{_nearest(item, context)}", text


def _visible(location: Sequence[int | str], data: Any) -> Keys:
    """Return the steps that lead to something in the document; pydantic adds the branches of unions."""
    path: list[int | str] = []
    for step in location:
        inside = isinstance(data, dict) and step in data
        if inside or (isinstance(data, list) and isinstance(step, int) and step < len(data)):
            path.append(step)
            data = data[step]
    return tuple(path)


def _within(item: ErrorDetails, error: ValidationError) -> bool:
    here = item["loc"]
    return any(
        len(other["loc"]) > len(here) and other["loc"][: len(here)] == here
        for other in error.errors(include_url=False)
    )


def _count(context: dict[str, Any]) -> str:
    actual = context["actual_length"]
    if "min_length" in context:
        return f"should hold at least {context['min_length']}, holds {actual}"
    return f"should hold at most {context['max_length']}, holds {actual or 'more'}"


def _own_words(message: str) -> str:
    return message.removeprefix("Input ") if message.startswith("Input ") else message


def _nearest(item: ErrorDetails, context: dict[str, Any]) -> str:
    if "expected" not in context or not isinstance(item["input"], str):
        return ""
    nearest = suggest(item["input"], re.findall(r"'([^']*)'", str(context["expected"])))
    return nearest if nearest.startswith(",") else ""
