"""How close a model's outputs are to those of the model it was made from.

Both run over the same samples, one sample (or the model's own fixed batch) at a time, and only running sums
are kept. The reference's outputs are kept for further candidates as far as they fit into a few megabytes;
beyond that they are computed again. Of large models (`graph.runnable`) only one is loaded at a time: the
reference runs over so many samples that their outputs fit into those megabytes, then the candidate over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.bench.batches import Batch, Expected, as_many, bytes_of, limited
from onnx_pare.bench.outputs import class_output, class_scores, fed_rows, has_rows, real_rows, top1
from onnx_pare.bench.runner import Runner
from onnx_pare.bench.tally import OutputFidelity, Tally, json_db, json_number
from onnx_pare.errors import DataError, ModelError
from onnx_pare.graph.runnable import is_large
from onnx_pare.graph.session import HUNGRY
from onnx_pare.processes import give_back
from onnx_pare.progress import Advance, Progress, Silent

if TYPE_CHECKING:
    from onnx_pare.calibration.data import Samples

KEPT_BYTES = 64 << 20


@dataclass(frozen=True)
class Fidelity:
    """How close a candidate's outputs are to the reference's; of several outputs, the worst counts.

    Attributes:
        samples: Samples compared on.
        sqnr_db: Lowest SQNR of all float outputs (see `OutputFidelity`); inf if identical; None without any.
        top1_agreement: Fraction of samples for which both models' highest class score is the same class, by
            the first output that looks like a classifier's (`outputs.class_scores`); None without any.
        cosine: Lowest mean cosine of all float outputs.
        max_abs_error: Largest absolute error of all float outputs.
        random_data: Whether the samples are synthetic, which says little about real ones.
        outputs: Every output by itself.
        notes: What the user should know, one sentence each.
    """

    samples: int
    sqnr_db: float | None
    top1_agreement: float | None
    cosine: float | None
    max_abs_error: float | None
    random_data: bool
    outputs: tuple[OutputFidelity, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report's `fidelity` entry.

        An SQNR lies within [−200, 200] dB there: 200 is identical. A maximum error without bounds is null.
        """
        return {
            "samples": self.samples,
            "top1_agreement": self.top1_agreement,
            "sqnr_db": json_db(self.sqnr_db),
            "cosine": self.cosine,
            "max_abs_error": json_number(self.max_abs_error),
            "random_data": self.random_data,
            "outputs": [output.to_json() for output in self.outputs],
            "notes": list(self.notes),
        }


def compare(
    reference: Path,
    candidate: Path,
    samples: Samples,
    *,
    threads: int = 1,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Fidelity:
    """Compare two models over samples, at most `limit` of them. See `Reference.compare`."""
    return Reference(reference, samples, threads=threads, limit=limit, kept_bytes=0).compare(
        candidate, progress=progress
    )


class Reference:
    """A model and samples to compare any number of candidates with."""

    def __init__(
        self,
        path: Path,
        samples: Samples,
        *,
        threads: int = 1,
        limit: int | None = None,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        """Remember what to compare with; nothing runs yet.

        Args:
            path: The reference's ONNX file.
            samples: What to run it on.
            threads: Threads inside one operator.
            limit: Samples at most; None takes all.
            kept_bytes: Memory for outputs that a second comparison need not compute again.
        """
        self.path = path
        self._samples = samples
        self._threads = threads
        self._limit = len(samples) if limit is None else min(limit, len(samples))
        self._kept: list[list[Any]] = []
        self._free_bytes = kept_bytes
        self._names: tuple[str, ...] = ()

    def compare(self, candidate: Path, *, progress: Progress | None = None) -> Fidelity:
        """Run the candidate (and the reference, where its outputs are not kept) over the samples.

        Raises:
            ModelError: One of the models does not load or run, or the candidate lacks an output.
            DataError: There are no samples.
        """
        comparison = _Comparison()
        with (progress or Silent()).task(f"comparing {candidate.name}", self._limit) as advance:
            large = is_large(self.path, candidate)
            for block in self._blocks(large):
                runner = Runner(candidate, threads=self._threads, without=HUNGRY if large else ())
                self._add(runner, block, comparison, advance)
                del runner  # before the reference is loaded for the next block
                if large:
                    give_back()
        if not comparison.samples:
            raise DataError(f"{self._samples.source}: no samples to compare on")
        return comparison.result(self._samples.random)

    def _add(
        self, runner: Runner, block: Iterable[Expected], comparison: _Comparison, advance: Advance
    ) -> None:
        for feeds, count, expected in block:
            comparison.name(self._shared_outputs(runner))
            comparison.add(expected, runner.run(feeds, self._names), fed_rows(feeds), count)
            advance(count)

    def _blocks(self, large: bool) -> Iterator[Iterable[Expected]]:
        """Yield all samples at one time, computed as they are asked for; of large models, blocks of them.

        While such a block is looked at, the reference is not loaded.
        """
        batches = enumerate(limited(self._samples.batches(1), self._limit))
        if not large:
            yield self._expected(batches, large)
            return
        give_back()
        while block := as_many(self._expected(batches, large), KEPT_BYTES):
            yield block

    def _expected(self, batches: Iterator[tuple[int, Batch]], large: bool) -> Iterator[Expected]:
        """Yield feeds, the samples that count in them, and the reference's outputs for them."""
        runner = None
        for index, (feeds, count) in batches:
            if index < len(self._kept):
                yield feeds, count, self._kept[index]
                continue
            runner = runner or Runner(self.path, threads=self._threads, without=HUNGRY if large else ())
            self._names = runner.outputs
            outputs = runner.run(feeds)
            self._keep(index, outputs)
            yield feeds, count, outputs

    def _keep(self, index: int, outputs: list[Any]) -> None:
        size_bytes = bytes_of(outputs)
        if index == len(self._kept) and size_bytes <= self._free_bytes:
            self._kept.append(outputs)
            self._free_bytes -= size_bytes

    def _shared_outputs(self, candidate: Runner) -> tuple[str, ...]:
        missing = [name for name in self._names if name not in candidate.outputs]
        if missing:
            raise ModelError(f"{candidate.path}: has no output '{missing[0]}', which {self.path} has")
        return self._names


class _Comparison:
    """Running sums over all outputs."""

    def __init__(self) -> None:
        self._tallies: list[Tally] = []
        self._classes: int | None = None
        self.samples = self._same_class = 0

    def name(self, outputs: Sequence[str]) -> None:
        """Say what the outputs are called, at the first samples."""
        self._tallies = self._tallies or [Tally(name) for name in outputs]

    def add(self, reference: Sequence[Any], candidate: Sequence[Any], rows: int | None, count: int) -> None:
        """Add the outputs of one batch of `rows` rows, of which the first `count` are samples."""
        if self.samples == 0:
            self._classes = class_output(reference, rows)
        if self._classes is not None:
            self._add_classes(reference[self._classes], candidate[self._classes], rows, count)
        for tally, a, b in zip(self._tallies, reference, candidate, strict=True):
            tally.add(real_rows(a, rows, count), real_rows(b, rows, count), by_row=has_rows(a, rows))
        self.samples += count

    def _add_classes(self, reference: Any, candidate: Any, rows: int | None, count: int) -> None:
        a, b = class_scores(reference, rows), class_scores(candidate, rows)
        if a is not None and b is not None:
            self._same_class += int(np.count_nonzero(top1(a[:count]) == top1(b[:count])))

    def result(self, random_data: bool) -> Fidelity:
        """Return what the batches so far say."""
        outputs = tuple(tally.result() for tally in self._tallies)
        return Fidelity(
            samples=self.samples,
            sqnr_db=min(_given(o.sqnr_db for o in outputs), default=None),
            top1_agreement=None if self._classes is None else self._same_class / self.samples,
            cosine=min(_given(o.cosine for o in outputs), default=None),
            max_abs_error=max(_given(o.max_abs_error for o in outputs), default=None),
            random_data=random_data,
            outputs=outputs,
            notes=tuple(o.note for o in outputs if o.note),
        )


def _given(values: Iterable[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)
