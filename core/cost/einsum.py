"""Multiply-accumulates of Einsum."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from onnx_pare.cost.call import Call, UncountedError


def einsum(call: Call) -> int:
    """Count contractions from left to right: two operands cost the product of all their index sizes.

    After each contraction the indices that neither the rest nor the output names are gone. One operand
    alone is only transposed or summed: no MACs. `...` counts as one index per dimension it stands for.
    """
    equation = call.node.attributes.get_string("equation", "").replace(" ", "")
    left, _, right = equation.partition("->")
    shapes = [call.input(position) for position in range(len(call.node.inputs))]
    terms = [_indices(term, shape) for term, shape in zip(left.split(","), shapes, strict=True)]
    output = set(right) if "->" in equation else {i for i in left if left.count(i) == 1}
    macs, current = 0, terms[0]
    for position, term in enumerate(terms[1:], start=1):
        joined = {i: max(current.get(i, 1), term.get(i, 1)) for i in (*current, *term)}
        macs += prod(joined.values())
        needed = output.union(*terms[position + 1 :])
        current = {i: size for i, size in joined.items() if i in needed or i.startswith("...")}
    return macs


def _indices(term: str, shape: Sequence[int]) -> dict[str, int]:
    before, dots, after = term.partition("...")
    hidden = len(shape) - len(before) - len(after)
    if hidden < 0 or (hidden and not dots):
        raise UncountedError(f"the term '{term}' does not fit an input of {len(shape)} dimensions")
    middle = [f"...{hidden - position}" for position in range(hidden)]
    return dict(zip([*before, *middle, *after], shape, strict=True))
