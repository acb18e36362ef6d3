"""JSON as this project writes it: indented, in order, without infinities and NaN."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def json_text(data: Mapping[str, Any], encoding: str = "utf-8") -> str:
    """Return JSON text; escaped where `encoding`, or a file's name that is no text, asks for it."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = json.dumps(data, indent=2, allow_nan=False)
    return text + "\n"
