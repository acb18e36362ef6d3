"""What plain YAML text means: the YAML 1.2 core schema, less what JSON cannot hold.

So `1e-3` is a number, `on`, `yes`, `2026-11-01` and `12:30` are text, and `010` is ten
(https://yaml.org/spec/1.2.2/#103-core-schema). Infinity, NaN, integers beyond 64 bits and control characters
are errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from onnx_pare.documents.document import show

TAG = "tag:yaml.org,2002:"
PATTERNS: Mapping[str, re.Pattern[str]] = {
    f"{TAG}null": re.compile(r"^(?:~|null|Null|NULL|)\Z"),
    f"{TAG}bool": re.compile(r"^(?:true|True|TRUE|false|False|FALSE)\Z"),
    f"{TAG}int": re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
    f"{TAG}float": re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}


def read_scalar(tag: str, text: str) -> Any:
    """Return the value of a scalar.

    Raises:
        ValueError: The tag is unknown, or the text does not fit it.
    """
    convert = _SCALARS.get(tag)
    if convert is None:
        raise ValueError(f"unknown tag {show(tag.removeprefix(TAG))}")
    pattern = PATTERNS.get(tag)
    if pattern is not None and not pattern.match(text):
        raise ValueError(f"{show(text)} does not fit the tag '{tag.removeprefix(TAG)}'")
    return convert(text)


def _integer(text: str) -> int:
    base = {"0x": 16, "0o": 8}.get(text[:2], 10)
    if len(text) > 25 or not -(1 << 63) <= int(text, base) < 1 << 63:
        raise ValueError(f"{text[:20]}{'…' if len(text) > 20 else ''} is too large a number")
    return int(text, base)


def _float(text: str) -> float:
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(number):
        raise ValueError(f"{show(text)} is not a finite number")
    return number


def _text(text: str) -> str:
    for character in text:
        if (ord(character) < 32 and character not in "\t\n") or 0xD800 <= ord(character) <= 0xDFFF:
            raise ValueError(f"character {character!r} is not allowed")
    return text


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    f"{TAG}null": lambda text: None,
    f"{TAG}bool": lambda text: text.lower() == "true",
    f"{TAG}int": _integer,
    f"{TAG}float": _float,
    f"{TAG}str": _text,
}
