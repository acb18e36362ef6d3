"""Turning a sequence of single samples into the batches a model takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from onnx_pare.calibration.inputs import ModelInputs
from onnx_pare.errors import DataError
from onnx_pare.graph.session import Feeds

# samples that are held in memory at most, whatever their size
MOST_HELD = 1024
# samples that are set apart lie so far from each other at most: all before the last one are read for it
WIDEST_STEP = 100


@dataclass(frozen=True)
class Stream:
    """Samples read one after the other, as often as asked.

    Attributes:
        source: Where they come from.
        random: Whether they are synthetic.
        inputs: What the model takes.
        count: The number of samples.
        read: Starts over and yields each sample: by input name an array with one entry on the sample axis.
        warnings: What was left out, in sentences.
    """

    source: str
    random: bool
    inputs: ModelInputs
    count: int
    read: Callable[[], Iterator[Feeds]]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Feeds]:
        for feeds, _ in self.batches():
            yield feeds

    def batches(self, size: int = 1) -> Iterator[tuple[Feeds, int]]:
        """Yield feeds of up to `size` samples (exactly the model's own batch if fixed), and how many.

        A batch ends early where the next sample differs in a free dimension, or in an input that has no
        sample axis. One that is short of the model's own batch repeats its last sample.

        Raises:
            DataError: A sample cannot be read, or holds NaN or infinite values.
        """
        size = self.inputs.batch or size
        held: list[Feeds] = []
        for sample in self.read():
            if held and (len(held) >= size or not self._fit_together(held[-1], sample)):
                yield self._batch(held)
                held = []
            held.append(sample)
        if held:
            yield self._batch(held)

    def part(self, start: int, stop: int) -> Stream:
        """Return the samples from `start` to before `stop`, read by skipping those before."""
        stop = min(stop, self.count)
        return replace(self, count=max(stop - start, 0), read=lambda: islice(self.read(), start, stop))

    def apart(self, count: int) -> tuple[Stream, Stream]:
        """Return the samples without `count` of them, and those: spread out, as neighbours may be alike."""
        step = min(self.count // count, WIDEST_STEP)
        end = step * count

        def others() -> Iterator[Feeds]:
            return (one for index, one in enumerate(self.read()) if index >= end or index % step)

        rest = replace(self, count=self.count - count, read=others)
        return rest, replace(self, count=count, read=lambda: islice(self.read(), 0, end, step))

    def held(self, limit_bytes: int) -> Stream:
        """Return the samples read into memory, where they take at most so much; else as they are."""
        kept: list[Feeds] = []
        if self.count > MOST_HELD:
            return self
        for sample in self.read():
            limit_bytes -= sum(array.nbytes for array in sample.values())
            if limit_bytes < 0:
                return self
            kept.append(sample)
        return replace(self, read=lambda: iter(kept))

    def _fit_together(self, a: Feeds, b: Feeds) -> bool:
        import numpy as np

        return all(
            np.array_equal(a[spec.name], b[spec.name])
            if spec.axis is None
            else a[spec.name].shape == b[spec.name].shape
            for spec in self.inputs.specs
        )

    def _batch(self, samples: list[Feeds]) -> tuple[Feeds, int]:
        import numpy as np

        padded = samples + [samples[-1]] * ((self.inputs.batch or 0) - len(samples))
        feeds: Feeds = {}
        for spec in self.inputs.specs:
            arrays = [sample[spec.name] for sample in padded]
            feeds[spec.name] = arrays[0] if spec.axis is None else np.concatenate(arrays, axis=spec.axis)
        return feeds, len(samples)


def subset(count: int, limit: int | None, seed: int) -> Sequence[int]:
    """Return which of `count` samples to use, in order: all, or `limit` of them drawn by `seed`.

    Raises:
        DataError: `limit` is below 1.
    """
    import numpy as np

    if limit is not None and limit < 1:
        raise DataError(f"{limit} samples asked for; at least 1 is needed")
    if limit is None or limit >= count:
        return range(count)
    chosen = np.random.default_rng(seed).choice(count, size=limit, replace=False)
    return sorted(int(index) for index in chosen)


def stretch(count: int, limit: int | None, seed: int) -> Sequence[int]:
    """Return which of `count` samples to use where their order matters: `limit` in a row, begun by `seed`.

    Raises:
        DataError: `limit` is below 1.
    """
    import numpy as np

    length = len(subset(count, limit, seed))
    start = int(np.random.default_rng(seed).integers(count - length + 1))
    return range(start, start + length)
