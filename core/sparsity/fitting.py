"""Fitting layer after layer of a changed network to what the original one gives.

Each layer sees the inputs that the layers changed before it now give, and is asked for the outputs of the
original: so it takes back a part of their errors (asymmetric reconstruction: Zhang et al. 2015,
"Accelerating Very Deep Convolutional Networks", section 3.3). Where its output is added to another branch, it
is asked for what the original sum lacks, errors of the other branch included (He et al. 2017, "Channel
Pruning for Accelerating Very Deep Neural Networks", section 3.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.calibration.data import Samples
from onnx_pare.calibration.walk import Walk
from onnx_pare.sparsity.layers import Layer
from onnx_pare.sparsity.normal_equations import Statistics, collect

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]


class Fitting:
    """Two networks side by side on their way over the samples; a context manager.

    Layers must be asked for in the order of the graph, each before it is changed; what comes before must have
    been changed by then.
    """

    def __init__(
        self,
        original: ir.Model,
        changed: ir.Model,
        layers: Iterable[ir.Node],
        samples: Samples,
        *,
        scratch: Path,
        threads: int = 1,
        largest_bytes: int = 0,
    ) -> None:
        """Begin at the inputs of both.

        Args:
            original: The network to come near to; it is not changed.
            changed: The network to fit, in which values keep their names.
            layers: Nodes of `changed` that will be fitted, and so must not run before.
            samples: What to run both on.
            scratch: Folder for temporary files.
            threads: Threads of onnxruntime sessions.
            largest_bytes: Size of the largest activation for one sample.
        """
        import onnx_ir as ir

        self._samples = len(samples)
        self._pending = set(layers)
        self._original = ir.convenience.create_value_mapping(original.graph, include_subgraphs=False)
        settings: dict[str, Any] = {"scratch": scratch, "threads": threads, "largest_bytes": largest_bytes}
        self._reference = Walk(original, samples, **settings)
        self._changed = Walk(changed, samples, **settings)

    def __enter__(self) -> Fitting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reference.close()
        self._changed.close()

    def statistics(self, layer: Layer, kept: Array | None = None) -> Statistics | None:
        """Return what a layer now gets, and what it should give; None if no value was finite.

        Args:
            layer: A layer of the changed network.
            kept: Which channels of the original output it still has; all by default.

        Raises:
            DataError: One of the networks does not run on the samples.
        """
        found = collect(layer.window, self._samples, self._batches(layer, kept))
        self._pending.discard(layer.node)
        return found if found is None or layer.takes_bias else found.through_origin()

    def _batches(self, layer: Layer, kept: Array | None) -> Iterator[tuple[Array, Array]]:
        joined = self._joined(layer)
        own = self._original[layer.result.name or ""]
        inputs, wanted = [layer.source], [own]
        if joined is not None:
            total, other = joined
            inputs, wanted = [layer.source, other], [own, total]
        pairs = zip(self._changed.batches(*inputs), self._reference.batches(*wanted), strict=True)
        for (x, *others), (y, *totals) in pairs:
            target = _kept(y, kept, layer)
            for beside, whole in zip(others, totals, strict=True):
                lacking = _kept(whole, kept, layer)
                # else one of the two is repeated along an axis
                if whole.shape == y.shape and beside.shape == lacking.shape:
                    target = lacking - beside
            yield x, target

    def _joined(self, layer: Layer) -> tuple[ir.Value, ir.Value] | None:
        """Return the sum of the original that a layer's output goes into, and what is added to it here.

        None where that is not known before the layer is fitted.
        """
        uses = list(layer.result.uses())
        add = uses[0].node if len(uses) == 1 and not layer.result.is_graph_output() else None
        if add is None or add.op_type != "Add" or add.domain != "":
            return None
        others = [value for value in add.inputs if value is not None and value is not layer.result]
        total = self._original.get(add.outputs[0].name or "")
        if len(others) != 1 or others[0].const_value is not None or total is None:
            return None
        return None if self._needs_pending(others[0]) else (total, others[0])

    def _needs_pending(self, value: ir.Value) -> bool:
        """Tell whether a value cannot be known before a layer that is still to be fitted."""
        seen: set[ir.Node] = set()
        waiting = [value]
        while waiting:
            node = waiting.pop().producer()
            if node is None or node in seen or self._changed.has_run(node):
                continue
            if node in self._pending:
                return True
            seen.add(node)
            waiting += [each for each in node.inputs if each is not None]
        return False


def _kept(array: Array, kept: Array | None, layer: Layer) -> Array:
    if kept is None:
        return array
    return np.take(array, kept, axis=1 if layer.window.kernel else array.ndim - 1)
