"""Comparing one output of two models, batch by batch, in constant memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_pare.bench.outputs import Array, is_float

Doubles = NDArray[np.float64]

# what a JSON file holds for outputs that are identical, or where nothing of the signal is left
DB_LIMIT = 200.0


@dataclass(frozen=True)
class OutputFidelity:
    """How close one output of a candidate is to the reference's.

    Attributes:
        name: The output.
        sqnr_db: 10·log10(Σ ref² / Σ (ref − cand)²) over all elements of all samples; inf if they are
            identical, −inf if the candidate has NaN or infinities of its own; None if the output could not be
            compared.
        cosine: Mean over the samples of the cosine of the angle between the two outputs.
        max_abs_error: Largest |ref − cand| of any element.
        agreement: Fraction of equal elements, of an output that holds no floats.
        nonfinite: Elements that are NaN or infinite in the candidate and finite in the reference.
        note: What the user should know, or empty.
    """

    name: str
    sqnr_db: float | None = None
    cosine: float | None = None
    max_abs_error: float | None = None
    agreement: float | None = None
    nonfinite: int = 0
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; see `json_db` and `json_number` for those JSON has no number for."""
        return {
            "name": self.name,
            "sqnr_db": json_db(self.sqnr_db),
            "cosine": self.cosine,
            "max_abs_error": json_number(self.max_abs_error),
            "agreement": self.agreement,
            "nonfinite": self.nonfinite,
        }


def decibels(signal: float, noise: float) -> float:
    """Return 10·log10(signal / noise): inf without noise, −inf without signal or with unbounded noise."""
    if noise == 0:
        return math.inf
    if signal == 0 or not math.isfinite(noise):
        return -math.inf
    return 10 * math.log10(signal / noise)


def json_db(sqnr_db: float | None) -> float | None:
    """Return an SQNR for JSON, within [−200, 200]: 200 stands for identical, −200 for nothing left."""
    return None if sqnr_db is None else max(-DB_LIMIT, min(DB_LIMIT, sqnr_db))


def json_number(value: float | None) -> float | None:
    """Return a number for JSON, None (null) for one without bounds."""
    return value if value is not None and math.isfinite(value) else None


class Tally:
    """Running sums of one output, fed batch by batch."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._signal = self._noise = self._max = 0.0
        self._cosine = 0.0
        self._rows = self._batches = 0
        self._elements = self._equal = 0
        self._nonfinite = self._left_out = self._compared = 0
        self._uncomparable = ""
        self._float = False

    def add(self, reference: Any, candidate: Any, *, by_row: bool) -> None:
        """Add one batch.

        Args:
            reference: The reference's output.
            candidate: The candidate's.
            by_row: Whether the first axis holds samples; else the whole output is one.
        """
        self._batches += 1
        if not (isinstance(reference, np.ndarray) and isinstance(candidate, np.ndarray)):
            self._uncomparable = "is not a tensor"
        elif reference.shape != candidate.shape:
            shapes = f"{_shape(reference)} against {_shape(candidate)}"
            self._uncomparable = f"has another shape in sample {self._batches}: {shapes}"
        elif is_float(reference) and is_float(candidate):
            self._add_floats(reference.astype(np.float64), candidate.astype(np.float64), by_row)
        else:
            self._elements += reference.size
            self._equal += int(np.count_nonzero(reference == candidate))

    def result(self) -> OutputFidelity:
        """Return what the batches so far say."""
        if self._uncomparable:
            return OutputFidelity(self.name, note=f"output '{self.name}' {self._uncomparable}; not compared")
        if not self._float:
            equal = self._equal / self._elements if self._elements else None
            return OutputFidelity(self.name, agreement=equal)
        if self._left_out and not self._compared:
            return OutputFidelity(self.name, note=self._note())
        return OutputFidelity(
            self.name,
            sqnr_db=decibels(self._signal, self._noise),
            cosine=self._cosine / self._rows if self._rows else None,
            max_abs_error=self._max,
            nonfinite=self._nonfinite,
            note=self._note(),
        )

    def _add_floats(self, reference: Doubles, candidate: Doubles, by_row: bool) -> None:
        self._float = True
        known = np.isfinite(reference)
        lost = known & ~np.isfinite(candidate)
        reference = np.where(known, reference, 0)
        candidate = np.where(known & ~lost, candidate, 0)
        error = np.where(lost, np.inf, np.abs(reference - candidate))
        self._compared += int(np.count_nonzero(known))
        self._left_out += int(known.size - np.count_nonzero(known))
        self._nonfinite += int(np.count_nonzero(lost))
        self._signal += float(np.vdot(reference, reference))
        self._noise += float(np.vdot(error, error))
        self._max = max(self._max, float(error.max(initial=0)))
        rows = len(reference) if by_row else 1
        if reference.size:
            cosines = _cosines(reference.reshape(rows, -1), candidate.reshape(rows, -1))
            cosines[lost.reshape(rows, -1).any(axis=1)] = 0
            self._cosine += float(cosines.sum())
            self._rows += rows

    def _note(self) -> str:
        if self._nonfinite:
            return f"output '{self.name}': {self._nonfinite} values became NaN or infinite"
        if self._left_out:
            return f"output '{self.name}': {self._left_out} values are not finite in the reference already"
        return ""


def _cosines(a: Doubles, b: Doubles) -> Doubles:
    """Return the cosine of every row pair of (rows, n) arrays; 1 if both are zero, 0 if one is."""
    dots = np.einsum("ij,ij->i", a, b)
    squares = np.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", b, b)
    norms = np.sqrt(squares[0]) * np.sqrt(squares[1])
    both_zero = (squares[0] == 0) & (squares[1] == 0)
    cosines: Doubles = np.divide(dots, norms, out=both_zero.astype(np.float64), where=norms > 0)
    np.clip(cosines, -1, 1, out=cosines)
    return cosines


def _shape(array: Array) -> str:
    return "x".join(str(dim) for dim in array.shape) or "scalar"
