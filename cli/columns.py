"""Tables of nodes as aligned text, for pipes and for narrow terminals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

OP_WIDTH, NAME_WIDTH = 12, 12


class Columns(NamedTuple):
    """The columns of a table whose first two are names of nodes and operators.

    Attributes:
        headers: What stands above them.
        right: Whether a column is aligned to the right.
        others_width: What the columns after the first two leave to those in a narrow terminal.
    """

    headers: tuple[str, ...]
    right: tuple[bool, ...]
    others_width: int


def table(columns: Columns, rows: Sequence[tuple[str, ...]], width: int | None) -> Iterator[str]:
    """Yield the aligned lines, the header first; names are cut to fit `width` columns, if that is given."""
    if width is not None:
        longest = max(NAME_WIDTH, width - columns.others_width - OP_WIDTH)
        rows = [(_cut(name, longest), _op(op), *figures) for name, op, *figures in rows]
    yield from aligned([columns.headers, *rows], columns.right)


def aligned(lines: Sequence[tuple[str, ...]], right: Sequence[bool] = ()) -> Iterator[str]:
    """Yield lines of cells with each column as wide as its widest, to the left where `right` does not say."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = right or [False] * len(widths)
    for line in lines:
        padded = (
            cell.rjust(wide) if to_right else cell.ljust(wide)
            for cell, wide, to_right in zip(line, widths, sides, strict=True)
        )
        yield " ".join(padded).rstrip()


def _op(text: str) -> str:
    return text if len(text) <= OP_WIDTH else f"{text[: OP_WIDTH - 1]}…"


def _cut(text: str, width: int) -> str:
    """Keep the end of a long name: names differ there."""
    return text if len(text) <= width else "…" + text[1 - width :]
