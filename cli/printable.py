"""Text that others wrote, such as the names in a model, made safe to show."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text with what would make a terminal do something escaped, line feeds aside: `\\x1b[2J`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
