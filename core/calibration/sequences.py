"""Samples of models with a state: each run gets the state that the run before left."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.calibration.inputs import InputSpec, ModelInputs
from onnx_pare.calibration.states import State
from onnx_pare.calibration.stream import Stream
from onnx_pare.errors import DataError
from onnx_pare.graph.session import Feeds, Session, SessionError

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]

# runs from a state of zeros on before synthetic input starts over
SYNTHETIC_STEPS = 16


@dataclass(frozen=True)
class Carried:
    """Samples in order, with the states that the original model makes of them.

    Attributes:
        source: Where the samples come from, for messages.
        read: Yields the samples; what they hold for states is replaced.
        inputs: What the model takes.
        states: Its states.
        session: The original model.
        steps: After so many samples the states are zero again; None: never.
    """

    source: str
    read: Callable[[], Iterator[Feeds]]
    inputs: ModelInputs
    states: tuple[State, ...]
    session: Session
    steps: int | None

    def __call__(self) -> Iterator[Feeds]:
        """Yield the samples with their states.

        Raises:
            DataError: The model does not run on a sample, or makes states of another shape.
        """
        zeros = self._zeros()
        held = zeros
        for index, sample in enumerate(self.read()):
            if self.steps is not None and index % self.steps == 0:
                held = zeros
            feeds = {spec.name: held.get(spec.name, sample.get(spec.name)) for spec in self.inputs.specs}
            complete = {name: array for name, array in feeds.items() if array is not None}
            yield complete
            held = self._next(complete)

    def _next(self, feeds: Feeds) -> Feeds:
        """Run the model on one sample (repeated to its own batch) and return the states it leaves."""
        once = Stream("", False, self.inputs, 1, lambda: iter([feeds]))
        batch, _ = next(once.batches(1))
        try:
            found = self.session.run(batch, [state.output for state in self.states])
        except SessionError as error:
            raise DataError(f"{self.source}: the model does not run on it: {error}") from error
        left = {}
        for state, array in zip(self.states, found, strict=True):
            axis = _spec(self.inputs, state).axis
            left[state.input] = array if axis is None else array.take([0], axis=axis)
            if left[state.input].shape != feeds[state.input].shape:
                raise DataError(
                    f"{self.source}: output '{state.output}' has shape {array.shape},"
                    f" its state '{state.input}' {batch[state.input].shape}"
                )
        return left

    def _zeros(self) -> Feeds:
        import numpy as np

        held = {state.input for state in self.states}
        return {
            spec.name: np.zeros(_shape(spec), spec.dtype) for spec in self.inputs.specs if spec.name in held
        }


def carry(
    stream: Stream, inputs: ModelInputs, states: Sequence[State], model: ir.Model, steps: int | None
) -> Stream:
    """Return the samples of a stream with states carried from each to the next, from zero on.

    Args:
        stream: Samples that hold every input but the states.
        inputs: What the model takes.
        states: Its states.
        model: The model, which is run to find them.
        steps: After so many samples the states are zero again; None: never.

    Raises:
        DataError: The model does not run on the first sample, or not on the state it leaves.
    """
    if any(dim is None for state in states for dim in _shape(_spec(inputs, state))):
        names = ", ".join(f"'{state.input}'" for state in states)
        raise DataError(
            f"{stream.source}: the shape of the state {names} is open", hint="Give it by --shape."
        )
    reader = Carried(stream.source, stream.read, inputs, tuple(states), _load(model), steps)
    for index, _ in enumerate(reader()):
        if index:  # the second sample needs the state of the first
            break
    return replace(stream, inputs=inputs, read=reader)


def _spec(inputs: ModelInputs, state: State) -> InputSpec:
    return next(spec for spec in inputs.specs if spec.name == state.input)


def _shape(spec: InputSpec) -> tuple[Any, ...]:
    """Return the shape of one sample; None where it is open."""
    if spec.dims is None:
        return (None,)
    return tuple(1 if i == spec.axis else dim for i, dim in enumerate(spec.dims))


def _load(model: ir.Model) -> Session:
    from onnx_pare.graph.save import write_model
    from onnx_pare.graph.session import newest_ir_version

    copy = model.clone()
    copy.ir_version = min(copy.ir_version, newest_ir_version() or copy.ir_version)
    with tempfile.TemporaryDirectory(prefix="onnx-pare-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.onnx"
        write_model(copy, path)
        try:
            return Session(path)
        except SessionError as error:
            raise DataError(
                f"onnxruntime does not load the model, whose state is to be found: {error}"
            ) from error
