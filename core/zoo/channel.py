"""What the processes of a batch leave for each other to read: lines of JSON, and a last complaint."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# what `faulthandler` prints behind the traceback of a crash
_MODULES = "\n\nExtension modules:"


def tell(file: int, event: Mapping[str, Any]) -> None:
    """Write an event to a file descriptor, as a line of JSON."""
    line = json.dumps(event).encode() + b"\n"
    while line:
        line = line[os.write(file, line) :]


def complaint(path: Path) -> str:
    """Return `: ` and the last line that a process wrote to its stderr, a file; nothing if there is none."""
    if not path.exists():
        return ""
    said = path.read_text(encoding="utf-8", errors="replace")[-4000:].partition(_MODULES)[0].split("\n")
    lines = [line.strip() for line in said if line.strip()]
    return f": {lines[-1][:200]}" if lines else ""
