"""Spelling suggestions for names that are not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def suggest(word: str, known: Iterable[str]) -> str:
    """Return how to go on after "unknown …": the nearest known name, or all of them if none is near.

    >>> suggest("sparsty", ["sparsity", "skip"])
    ", did you mean 'sparsity'?"
    """
    names = sorted(set(known))
    folded = {name.lower().replace("-", "_"): name for name in names}
    close = get_close_matches(word.lower().replace("-", "_"), list(folded), n=1, cutoff=0.6)
    if close:
        return f", did you mean '{folded[close[0]]}'?"
    return f" (known: {', '.join(names)})" if names else ""
