"""In which order the channels of each group go: by what the layers that read them can do without.

One run over the samples looks at every layer that reads channels. What its error does to the model's outputs
is measured once per layer (`substitution.weigh`), so that groups can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from onnx_pare.calibration.moments import Moments
from onnx_pare.calibration.walk import Walk
from onnx_pare.graph.edit import constant
from onnx_pare.graph.groups import Group, Groups, Slices
from onnx_pare.sparsity.choosing import Candidate, Probe, weigh
from onnx_pare.sparsity.elimination import Adapting, Course, Plain, eliminate
from onnx_pare.sparsity.importance import weight_norms
from onnx_pare.sparsity.layers import Layer, layer_of
from onnx_pare.sparsity.normal_equations import MOST_INPUTS, Statistics, collect
from onnx_pare.sparsity.substitution import Means, bias_of

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
Criterion = Literal["l1", "l2", "activation", "reconstruction"]
# a layer's factor is measured by an error of about this much of its output
PROBED_ERROR = 0.02
# from so many inputs on, two threads are faster than one
WIDE = 1000


@dataclass
class _Seen:
    """What was seen of the layers that read channels.

    Attributes:
        readers: By group, each with its layer's name.
        courses: Groups that one layer reads alone, done at once so that its covariance need not be kept.
        probes: For each layer an error relative to the power of its output, weights and a bias that cause it.
    """

    readers: dict[int, list[tuple[str, Adapting | Plain]]] = field(default_factory=dict)
    courses: dict[int, tuple[str, Course]] = field(default_factory=dict)
    probes: dict[str, Probe] = field(default_factory=dict)


def by_norm(groups: Mapping[int, Group], norm: Literal["l1", "l2"]) -> dict[int, Course]:
    """Return the courses by the norms of the weights that make the channels, without data."""
    found = {}
    for index, group in groups.items():
        scores = weight_norms(group, norm)
        found[index] = eliminate([Plain(scores / max(float(scores.sum()), 1e-30))], group.units)
    return found


def by_data(
    model: ir.Model,
    groups: Groups,
    prunable: Mapping[int, Group],
    criterion: Literal["activation", "reconstruction"],
    means: Means,
    harm: Callable[[ir.Model], float],
) -> dict[int, Course]:
    """Return the courses by what layers do with channels on samples; groups that no layer reads have none.

    Args:
        model: The model that `groups` was found in.
        groups: All groups.
        prunable: Those wanted.
        criterion: `activation`: channels go by the power of what layers make of them, other weights staying;
            `reconstruction`: by the error that stays when others take over what they can.
        means: What to do it with.
        harm: Returns the mean square error of a model's outputs, relative to their power.

    Raises:
        DataError: The model does not run on the samples.
    """
    seen = _look(model, groups, prunable, criterion == "reconstruction", means)
    probes = [Candidate(name, 0, (), probe) for name, probe in seen.probes.items()]
    factors = weigh(model, probes, harm, means.progress) if probes else {}
    found = {index: course.scaled(factors.get(name, 1.0)) for index, (name, course) in seen.courses.items()}
    for index, readers in seen.readers.items():
        for name, reader in readers:
            reader.scale *= factors.get(name, 1.0)
        found[index] = _eliminate(readers, prunable[index].units)
    return dict(sorted(found.items()))


def _look(
    model: ir.Model, groups: Groups, prunable: Mapping[int, Group], adapting: bool, means: Means
) -> _Seen:
    """Run over the samples once, layer by layer."""
    reads: dict[ir.Node, dict[int, Slices]] = {}
    for index, group in prunable.items():
        for part in () if group.contracted else group.consumers:
            reads.setdefault(part.node, {})[index] = part
    last = {index: node for node in model.graph for index in reads.get(node, {})}
    look = _Look(groups, prunable, adapting, len(means.samples))
    walk = Walk(
        model, means.samples, scratch=means.scratch, threads=means.threads, largest_bytes=means.largest_bytes
    )
    with means.progress.task("looking at channels", len(reads)) as advance, walk:
        for node in model.graph:
            if node in reads:
                look.at(node, reads[node], walk)
                look.finish({index for index in reads[node] if last[index] is node})
                advance(1)
    return look.seen


@dataclass
class _Look:
    """One run over the samples."""

    groups: Groups
    prunable: Mapping[int, Group]
    adapting: bool
    samples: int
    seen: _Seen = field(default_factory=_Seen)

    def at(self, node: ir.Node, parts: Mapping[int, Slices], walk: Walk) -> None:
        """Make readers of one layer."""
        layer = layer_of(node)
        if layer is None:
            for index, part in parts.items():
                self._add(index, node, Plain(_weights_alone(part, self.prunable[index].units)))
        elif self.adapting and layer.rows().shape[2] <= MOST_INPUTS:
            pairs = ((x, y) for x, y in walk.batches(layer.source, layer.result))
            given = collect(layer.window, self.samples, pairs)
            if given is not None:
                self._adapting(layer, parts, given.ridged(layer.rows()))
        else:
            moments = Moments(layer.window, self.samples)
            for (x,) in walk.batches(layer.source):
                moments.update(x)
            if moments.seen():
                self._plain(layer, parts, moments)

    def finish(self, indices: Iterable[int]) -> None:
        """Do what one layer reads alone at once: its covariance need not be kept."""
        for index in indices:
            readers = self.seen.readers.get(index, [])
            if len({name for name, _ in readers}) == 1:
                course = _eliminate(readers, self.prunable[index].units)
                self.seen.courses[index] = readers[0][0], course
                del self.seen.readers[index]

    def _add(self, index: int, node: ir.Node, reader: Adapting | Plain) -> None:
        self.seen.readers.setdefault(index, []).append((node.name or "", reader))

    def _adapting(self, layer: Layer, parts: Mapping[int, Slices], given: Statistics) -> None:
        weights = layer.rows().astype(np.float64)
        scale = 1 / max(float(given.yy.sum()), 1e-30)
        inverses = np.linalg.inv(given.xx)
        for index in parts:
            columns = self._columns(layer, index)
            for inverse, rows, own in zip(inverses, weights, columns, strict=True):
                used = np.unique(own[own >= 0])
                place = np.searchsorted(used, own)
                reader = Adapting(
                    inverse[np.ix_(used, used)], rows[:, used], np.where(own < 0, -1, place), scale
                )
                self._add(index, layer.node, reader)
        self.seen.probes[layer.node.name or ""] = _probe(layer, given, inverses, scale)

    def _plain(self, layer: Layer, parts: Mapping[int, Slices], moments: Moments) -> None:
        """Judge each input by its variance and its weights."""
        rows = layer.rows().astype(np.float64)
        variances = np.diagonal(moments.covariance(), axis1=2, axis2=3).reshape(len(rows), -1)
        energies = variances[:, : rows.shape[2]] * np.square(rows).sum(axis=1)
        total = max(float(energies.sum()), 1e-30)
        for index in parts:
            columns = self._columns(layer, index)
            own = [np.where(c >= 0, e[c], 0).sum(axis=1) for e, c in zip(energies, columns, strict=True)]
            self._add(index, layer.node, Plain(np.sum(own, axis=0) / total))
        if self.adapting:
            least = np.argsort(energies, axis=None)
            gone = least[np.cumsum(energies.reshape(-1)[least]) <= PROBED_ERROR * total][: energies.size - 1]
            lost = np.zeros(energies.shape, bool)
            lost.reshape(-1)[gone] = True
            error = max(float(energies[lost].sum()) / total, 1e-12)
            kept = np.where(lost[:, None, :], 0.0, rows)
            shift = np.einsum("gok,gk->go", rows - kept, moments.mean())
            self.seen.probes[layer.node.name or ""] = Probe(error, kept, _shifted(layer, shift))

    def _columns(self, layer: Layer, index: int) -> Array:
        """Return which inputs of a layer belong to each unit, shape (groups, units, inputs of a unit)."""
        shape = self.groups.axes.shape(layer.source) or ()
        axis = 1 if layer.window.kernel else len(shape) - 1
        group = self.prunable[index]
        unit_of = self.groups.units_at(group, layer.source, axis)
        assert unit_of is not None
        by_group = np.repeat(unit_of.reshape(layer.window.groups, -1), layer.window.positions, axis=1)
        count = max(int((by_group == unit).sum(axis=1).max()) for unit in range(group.units))
        columns = np.full((len(by_group), group.units, count), -1)
        for number, units in enumerate(by_group):
            for unit in range(group.units):
                own = np.flatnonzero(units == unit)
                if len(own) == count:
                    columns[number, unit] = own
        return columns


def _eliminate(readers: Sequence[tuple[str, Adapting | Plain]], units: int) -> Course:
    """Do it on one thread where products are small: threads would wait for each other."""
    largest = max((len(reader.inverse) for _, reader in readers if isinstance(reader, Adapting)), default=0)
    with threadpool_limits(None if largest > WIDE else 1, "blas"):
        return eliminate([reader for _, reader in readers], units)


def _probe(layer: Layer, given: Statistics, inverses: Array, scale: float) -> Probe:
    """Take from a layer the channels it can best do without, and return the error and what is left."""
    rows = layer.rows().astype(np.float64)
    kept, harm = rows.copy(), 0.0
    positions = layer.window.positions
    for number, inverse in enumerate(inverses):
        channels = np.arange(inverse.shape[0] // positions)
        columns = np.arange(inverse.shape[0]).reshape(-1, positions)
        reader = Adapting(inverse.copy(), kept[number], columns, scale)
        costs = reader.costs(channels)
        order = np.argsort(costs, kind="stable")
        share = PROBED_ERROR / len(inverses)
        count = int(np.clip((np.cumsum(costs[order]) < share).sum(), 1, max(len(channels) - 1, 1)))
        harm += reader.remove(order[:count])
    bias = given.bias(kept) if layer.takes_bias else None
    return Probe(max(harm, 1e-12), kept, bias)


def _shifted(layer: Layer, shift: Array) -> Array | None:
    """Return a layer's bias with something added to it."""
    if not layer.takes_bias:
        return None
    bias = bias_of(layer)
    return shift if bias is None else shift + bias.reshape(shift.shape)


def _weights_alone(part: Slices, units: int) -> Array:
    """Return the share that each unit has in the power of weights that nothing else is known of."""
    weights = constant(part.value)
    assert weights is not None
    others = tuple(axis for axis in range(weights.ndim) if axis != part.axis)
    power = np.square(weights.astype(np.float64)).sum(axis=others)
    own = part.unit_of >= 0
    found = np.bincount(part.unit_of[own], power[own], minlength=units)
    return np.asarray(found / max(float(power.sum()), 1e-30))
