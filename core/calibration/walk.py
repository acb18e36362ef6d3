"""Running a model over samples piece by piece, so that it may be changed on the way.

To fit layer after layer of a network, each on what the layers changed before it now give, the whole network
would have to run once per layer. A walk runs each node once: it holds what later nodes read, for all samples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.calibration.data import Samples
from onnx_pare.errors import DataError
from onnx_pare.graph.save import remove_model, write_model
from onnx_pare.graph.session import Session, SessionError

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
# the largest activation of a batch has about this size; larger batches gain no speed
BATCH_BYTES = 16 << 20
MAX_BATCH = 32
# held activations beyond this lie in files
HELD_BYTES = 512 << 20


class Walk:
    """A model on its way over the samples; a context manager.

    Nodes run when `batches` first asks for what they lead to, and each runs once. Those that have not run yet
    may be edited or replaced in between.
    """

    def __init__(
        self,
        model: ir.Model,
        samples: Samples,
        *,
        scratch: Path,
        threads: int = 1,
        held_bytes: int = HELD_BYTES,
        largest_bytes: int = 0,
    ) -> None:
        """Begin at the inputs.

        Args:
            model: The model, valid whenever `batches` is called.
            samples: What to run it on.
            scratch: Folder for temporary files.
            threads: Threads of onnxruntime sessions.
            held_bytes: Activations held in memory; what is beyond lies in files.
            largest_bytes: Size of the model's largest activation for one sample, which sets the batch size.
        """
        self._model, self._graph = model, model.graph
        self._threads = threads
        self._folder = tempfile.TemporaryDirectory(prefix="walk-", dir=scratch)
        self._held: dict[ir.Value, _Held] = {}
        self._done: set[ir.Node] = set()
        self._counts: list[int] = []
        self._batch_dims: list[int] = []
        self._room = held_bytes
        self._source = samples.source
        self._constants: dict[ir.Node, bool] = {}
        self._captures: dict[ir.Value, list[ir.Node]] = {}
        for node in self._graph:
            for value in _captured(node):
                self._captures.setdefault(value, []).append(node)
        self._read(samples, max(1, min(MAX_BATCH, BATCH_BYTES // max(largest_bytes, 1))))

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything held, and of its files."""
        self._held.clear()
        self._folder.cleanup()

    def has_run(self, node: ir.Node) -> bool:
        """Tell whether a node has run: an edit would come too late."""
        return node in self._done

    def batches(self, *values: ir.Value) -> Iterator[tuple[Array, ...]]:
        """Yield the arrays of these values, batch by batch.

        Values must be asked for in topological order: what a node made is held as long as a node that has not
        run reads it, and until the next call.

        Raises:
            DataError: onnxruntime cannot run the model on the samples.
            ValueError: A value is not held any more.
        """
        self._forget(values)
        wanted = [value for value in dict.fromkeys(values) if value not in self._held]
        if wanted:
            self._run(wanted)
        return self._arrays(values)

    def _arrays(self, values: Sequence[ir.Value]) -> Iterator[tuple[Array, ...]]:
        for number, count in enumerate(self._counts):
            whole = (self._held[value].read(number) for value in values)
            yield tuple(self._rows(array, number, count) for array in whole)

    def _rows(self, array: Array, number: int, count: int) -> Array:
        """Return what belongs to samples: the last batch of a fixed size is padded."""
        batch = self._batch_dims[number]
        return array[:count] if array.ndim and array.shape[0] == batch > count else array

    def _read(self, samples: Samples, size: int) -> None:
        inputs = {value.name or "": value for value in self._graph.inputs}
        for feeds, count in samples.batches(size):
            self._counts.append(count)
            self._batch_dims.append(max((feed.shape[0] for feed in feeds.values() if feed.ndim), default=1))
            for name, array in feeds.items():
                self._hold(inputs[name], array)

    def _hold(self, value: ir.Value, array: Array) -> None:
        held = self._held.setdefault(value, _Held(Path(self._folder.name)))
        self._room -= held.add(array, in_memory=array.nbytes <= self._room)

    def _forget(self, kept: Sequence[ir.Value]) -> None:
        """Let go of what every reader has read."""
        for value in list(self._held):
            if value not in kept and not self._is_read_later(value):
                self._room += self._held.pop(value).clear()

    def _is_read_later(self, value: ir.Value) -> bool:
        readers = [use.node for use in value.uses() if use.node.graph is self._graph]
        return any(node not in self._done for node in (*readers, *self._captures.get(value, ())))

    def _run(self, values: Sequence[ir.Value]) -> None:
        """Run what leads from held values to these, and hold what nodes beyond will read."""
        nodes, read = self._leading_to(values)
        self._done |= nodes
        outputs = [*values]
        for node in self._graph:
            if node in nodes and not self._is_constant(node):
                outputs += [
                    value for value in node.outputs if value not in values and self._is_read_later(value)
                ]
        session = self._session(read, outputs)
        try:
            for number in range(len(self._counts)):
                feeds = {value.name or "": self._held[value].read(number) for value in read}
                arrays = session.run(feeds, [value.name or "" for value in outputs])
                for value, array in zip(outputs, arrays, strict=True):
                    self._hold(value, array)
        except SessionError as error:
            raise DataError(f"{self._source}: the model does not run on it: {error}") from error

    def _is_held(self, value: ir.Value) -> bool:
        node = value.producer()
        return node is not None and not self._is_constant(node) and self._is_read_later(value)

    def _leading_to(self, values: Sequence[ir.Value]) -> tuple[set[ir.Node], list[ir.Value]]:
        """Return the nodes that must run for these values, and the held values they read."""
        nodes: set[ir.Node] = set()
        read: dict[ir.Value, None] = {}
        waiting = list(values)
        while waiting:
            value = waiting.pop()
            if value in self._held:
                read[value] = None
                continue
            node = value.producer()
            if node is None or node in nodes or node.graph is not self._graph:
                continue
            if node in self._done and not self._is_constant(node):
                raise ValueError(f"'{value.name}' is not held any more")
            nodes.add(node)
            waiting += _reads(node)
        return nodes, list(read)

    def _is_constant(self, node: ir.Node) -> bool:
        """Tell whether a node depends on no input: it may run again, and nothing of it is held."""
        if node not in self._constants:
            self._constants[node] = all(
                not value.is_graph_input()
                and ((maker := value.producer()) is None or self._is_constant(maker))
                for value in _reads(node)
            )
        return self._constants[node]

    def _session(self, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> Session:
        import onnx_ir as ir

        graph = ir.convenience.extract(self._graph, inputs, outputs)
        for port, value in zip(graph.inputs, inputs, strict=True):
            array = self._held[value].read(0)
            port.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
            port.shape = ir.Shape([None] * array.ndim)
        functions = list(self._model.functions.values())
        piece = ir.Model(graph, ir_version=self._model.ir_version, functions=functions)
        path = Path(self._folder.name) / "piece.onnx"
        try:
            write_model(piece, path)
            return Session(path, threads=self._threads)
        except SessionError as error:
            raise DataError(f"{self._source}: onnxruntime does not load the model: {error}") from error
        finally:
            remove_model(path)


class _Held:
    """The arrays of one value, one per batch, in memory or in files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: list[Array | Path] = []
        self._bytes = 0

    def add(self, array: Array, *, in_memory: bool) -> int:
        """Keep one more, and return the memory it takes."""
        if in_memory:
            self._arrays.append(array)
            self._bytes += array.nbytes
            return array.nbytes
        path = self._folder / f"{id(self)}-{len(self._arrays)}.npy"
        np.save(path, array)
        self._arrays.append(path)
        return 0

    def read(self, number: int) -> Array:
        array = self._arrays[number]
        return np.load(array) if isinstance(array, Path) else array

    def clear(self) -> int:
        """Let go of all, and return the memory that was taken."""
        for array in self._arrays:
            if isinstance(array, Path):
                array.unlink()
        return self._bytes


def _reads(node: ir.Node) -> list[ir.Value]:
    """Return what a node reads, the nodes inside its branches and bodies included."""
    return [value for value in node.inputs if value is not None] + _captured(node)


def _captured(node: ir.Node) -> list[ir.Value]:
    """Return what the branches and bodies of a node read from outside of them."""
    import onnx_ir as ir

    found: list[ir.Value] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            graph = attribute.as_graph()
            own = {value for inner in graph for value in inner.outputs}
            own.update(graph.inputs, graph.initializers.values())
            read = [value for inner in graph for value in _reads(inner)]
            found += [value for value in (*read, *graph.outputs) if value not in own]
    return found
