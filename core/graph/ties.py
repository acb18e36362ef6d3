"""Numbers that belong together: a union-find whose ties are settled all at once, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

Ids = np.ndarray[Any, Any]


class Ties:
    """Numbers from 0 on, some of them tied; each set of tied numbers has its smallest as root."""

    def __init__(self) -> None:
        self._count = 0
        self._roots: Ids = np.empty(0, np.int64)
        self._pending: list[tuple[Ids, Ids]] = []

    def __len__(self) -> int:
        return self._count

    def new(self, count: int) -> Ids:
        """Return `count` new numbers, tied to none."""
        ids = np.arange(self._count, self._count + count)
        self._count += count
        return ids

    def tie(self, a: Ids, b: Ids) -> None:
        """Tie numbers to each other, one by one; `b` may be broadcast.

        Raises:
            ValueError: The two do not match.
        """
        if a is not b:
            self._pending.append((a.reshape(-1), np.broadcast_to(b, a.shape).reshape(-1)))

    def roots(self) -> Ids:
        """Return the root of every number.

        Each round hooks the larger root of every tie below the smaller one and then shortens all paths to
        one step, as in Shiloach and Vishkin, "An O(log n) parallel connectivity algorithm" (1982).
        """
        roots = np.concatenate([self._roots, np.arange(len(self._roots), self._count)])
        if self._pending:
            a, b = (np.concatenate(side) for side in zip(*self._pending, strict=True))
            self._pending.clear()
            while True:
                a, b = roots[a], roots[b]
                apart = a != b
                if not apart.any():
                    break
                a, b = a[apart], b[apart]
                np.minimum.at(roots, np.maximum(a, b), np.minimum(a, b))
                while not np.array_equal(shorter := roots[roots], roots):
                    roots = shorter
        self._roots = roots
        return roots
