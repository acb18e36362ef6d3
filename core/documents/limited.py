"""Reading a file that somebody else wrote: never more of it than a document of its kind can hold."""

from __future__ import annotations

from pathlib import Path

from onnx_pare.documents.document import show
from onnx_pare.errors import InputError


def read_limited(name: str | Path, *, noun: str, max_bytes: int, error: type[InputError]) -> bytes:
    """Return the content of a file.

    Args:
        name: The file, as messages call it; a pipe is fine too, and is read up to the limit.
        noun: What the file should be, for messages.
        max_bytes: What it may hold.
        error: What is raised.

    Raises:
        InputError: Of the class `error`; it is missing, a folder, unreadable or larger than `max_bytes`.
    """
    path = Path(name)
    try:
        if path.is_dir():
            raise error(f"{name}: is a folder, not a {noun}")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        hint = "Check the spelling, and the folder you are in."
        raise error(f"{name}: no such file", hint=hint) from None
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the name
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{show(str(name))}: cannot be read: {reason}") from problem
    check_size(content, str(name), noun=noun, max_bytes=max_bytes, error=error)
    return content


def check_size(content: bytes, source: str, *, noun: str, max_bytes: int, error: type[InputError]) -> None:
    """Refuse content beyond `max_bytes`.

    Raises:
        InputError: Of the class `error`.
    """
    if len(content) > max_bytes:
        limit = f"{max_bytes >> 20} MiB" if max_bytes >> 20 else f"{max_bytes} bytes"
        raise error(f"{source}: is larger than {limit}; not a {noun}")
