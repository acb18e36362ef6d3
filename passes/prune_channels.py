"""Removing whole channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from onnx_pare.errors import PassError, UsageError
from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions, register
from onnx_pare.passes.ranks import SYNTHETIC, Ratio

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.cost.count import Cost
    from onnx_pare.graph.groups import Group, Groups
    from onnx_pare.graph.shapes import Shapes
    from onnx_pare.sparsity.courses import Criterion
    from onnx_pare.sparsity.elimination import Course
    from onnx_pare.sparsity.substitution import Means
    from onnx_pare.sparsity.widths import Widths

    Units = Mapping[int, Sequence[int]]

TARGETS = ("ratio", "macs_ratio", "params_ratio", "latency_ratio")
USUAL_RATIO = 0.3
# times the model is measured to find the widths for a latency
ATTEMPTS = 6


class Options(PassOptions):
    """Options of `prune_channels`."""

    ratio: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description=f"target: fraction of the channels of each group to remove; {USUAL_RATIO} without target",
    )
    macs_ratio: Ratio | None = Field(
        None, description="target: multiply-accumulates of the model, after / before"
    )
    params_ratio: Ratio | None = Field(None, description="target: parameters of the model, after / before")
    latency_ratio: Ratio | None = Field(
        None, description="target: latency of the model on this machine, one thread, after / before"
    )
    criterion: Literal["reconstruction", "activation", "l1", "l2"] = Field(
        "reconstruction",
        description="channels go by what layers that read them lose when others take over; by the power of"
        " what layers make of them; or by the norm of the weights that make them (no data)",
    )
    refit: bool = Field(
        True, description="fit the layers that read less to their original outputs, on calibration data"
    )
    scope: Literal["layer", "global"] = Field(
        "layer", description="of `ratio`: whether it holds in every group, or over all groups together"
    )
    round_to: int | Literal["auto"] = Field(
        "auto",
        description="what is left of a group is a multiple of this; auto: 16, 8, 4 or 2, an eighth of the"
        " group at most",
    )
    min_channels: int = Field(1, ge=1, description="channels that every group keeps at least")
    floor: float = Field(0.1, ge=0, le=1, description="fraction that every group keeps at least")
    dead_only: bool = Field(
        False, description="remove only channels that annotate_relu_sparsity saw never fire"
    )
    skip: list[str] = Field(
        [], description="layers to leave alone: globs over names (`*/head/*`) or `op:` and a glob over types"
    )

    @model_validator(mode="after")
    def _agree(self) -> Options:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[1]}: {given[0]} is given too; choose one target")
        if "scope" in self.model_fields_set and given not in ([], ["ratio"]):
            raise ValueError(f"scope: {given[0]} is a target over all groups; leave out `scope`")
        if isinstance(self.round_to, int) and self.round_to < 1:
            raise ValueError("round_to: at least 1")
        for name in sorted(self.model_fields_set - {"dead_only", "skip"} if self.dead_only else ()):
            raise ValueError(f"{name}: `dead_only` removes what is dead and nothing else; leave it out")
        return self

    @property
    def reads_data(self) -> bool:
        """Whether samples are needed."""
        return not self.dead_only and (self.refit or self.criterion in ("activation", "reconstruction"))

    def removable(self, units: int) -> int:
        """Return how many units a group may lose at most."""
        return max(units - max(self.min_channels, ceil(self.floor * units - 1e-9)), 0)


@register
class PruneChannels(Pass):
    """Remove channels, with everything that makes, carries and reads them: the model becomes narrower.

    Channels that residual additions, depthwise convolutions, shuffles and the like tie together go together.
    Those that meet something not understood stay, and the report names it. The layers that read what is left
    are fitted to their original outputs on calibration data. Keeps names, types and shapes of inputs and
    outputs, and the names of nodes and weights.
    """

    Options = Options
    calibrates = True
    idempotent = False

    def reads_samples(self) -> bool:
        """Tell whether samples are needed: not for weight norms without refitting, nor for dead channels."""
        return bool(self.options.reads_data)

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Remove channels; `changed` counts output channels of layers.

        Raises:
            PassError: The target cannot be reached.
            UsageError: A selector of `skip` matches nothing, or `dead_only` is asked of a model without
                annotations.
            DataError: The model does not run on the samples.
        """
        from onnx_pare.graph.batchnorm import fold_batch_norms

        changed = model.clone()
        if self.options.reads_data:
            fold_batch_norms(changed)
        run = _Run(changed, self.options, context)
        return run.outcome() or Outcome(model, 0, run.notes({}), tuple(run.warnings({})))


@dataclass
class _Run:
    """One pass over one model."""

    model: ir.Model
    options: Options
    context: Context
    target: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def feeds(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the inputs."""
        return {name: array.shape for name, array in next(iter(self.context.samples)).items()}

    @cached_property
    def shapes(self) -> Shapes:
        """Those of all tensors."""
        from onnx_pare.graph.shapes import infer

        return infer(self.model, self.feeds)

    @cached_property
    def cost(self) -> Cost:
        """What the model costs before."""
        from onnx_pare.cost.count import count

        return count(self.model, self.shapes)

    @cached_property
    def groups(self) -> Groups:
        """All groups."""
        from onnx_pare.graph.groups import find_groups

        return find_groups(self.model, self.shapes)

    @cached_property
    def skipped(self) -> set[ir.Node]:
        """The nodes that selectors name."""
        return select((node for graph in self.model.graphs() for node in graph), self.options.skip, "skip")

    @cached_property
    def prunable(self) -> dict[int, Group]:
        """The groups that no selector leaves alone."""
        return {
            index: group
            for index, group in self.groups.items()
            if self.skipped.isdisjoint(part.node for part in group.producers)
        }

    def outcome(self) -> Outcome | None:
        """Remove channels; None if there are none to remove."""
        from onnx_pare.cost.count import count
        from onnx_pare.graph.shapes import infer

        units = self._dead() if self.options.dead_only else self._chosen()
        units = {index: chosen for index, chosen in units.items() if len(chosen)}
        if not units:
            return None
        warnings = tuple(self.warnings(units))
        original = self.model.clone()
        widths, cost = _widths(self.groups), self.cost
        cuts = self._remove(self.model, self.groups, units)
        if self.options.refit and not self.options.dead_only:
            self._refit(original, cuts)
        after = count(self.model, infer(self.model, self.feeds))
        layers = _narrowed(widths, cost, _widths(self.groups), after)
        changed = sum(layer["channels_before"] - layer["channels_after"] for layer in layers)
        notes = {"layers": layers, "macs_before": cost.macs, "macs_after": after.macs, **self.notes(units)}
        return Outcome(self.model, max(changed, 1), notes, warnings)

    def _chosen(self) -> Units:
        """Return the units to remove, for the target."""
        courses = self._courses()
        options = self.options
        if options.latency_ratio is not None:
            return self._faster(courses, options.latency_ratio)
        name = next((name for name in ("macs_ratio", "params_ratio") if getattr(options, name)), None)
        if name is not None:
            return self._cheaper(courses, name, getattr(options, name))
        ratio = USUAL_RATIO if options.ratio is None else options.ratio
        counts = _shares(courses, self.prunable, ratio, options.scope, self._removable)
        return {index: courses[index].order[: self._rounded(index, n)] for index, n in counts.items()}

    def _courses(self) -> dict[int, Course]:
        """Return in which order the units of each group go."""
        from onnx_pare.sparsity.courses import by_data, by_norm
        from onnx_pare.sparsity.harm import harm_on

        criterion: Criterion = self.options.criterion
        if criterion == "l1" or criterion == "l2":
            return by_norm(self.prunable, criterion)
        harm = harm_on(self.model, self.cost.macs, len(self.groups.axes.layers), self._means())
        return by_data(self.model, self.groups, self.prunable, criterion, self._means(), harm)

    def _cheaper(self, courses: Mapping[int, Course], name: str, ratio: float) -> Units:
        """Return the units whose loss harms least for what it saves, until the model is so cheap."""
        from onnx_pare.sparsity.widths import Widths

        if name == "params_ratio":
            widths = Widths.of_params(self.groups, self.prunable, self.cost.params)
        else:
            macs = {row.name: row.macs or 0 for row in self.cost.rows}
            widths = Widths.of_macs(self.groups, self.prunable, macs)
        gone, reached = self._narrow(widths, courses, ratio)
        if reached > ratio:
            raise PassError(
                "prune_channels",
                f"{name} {ratio:g} cannot be reached: with groups as narrow as allowed it is {reached:.3g}",
                hint="Ask for more, lower `floor` and `min_channels`, or let another pass take its share.",
            )
        return {index: courses[index].order[:count] for index, count in gone.items()}

    def _narrow(
        self, widths: Widths, courses: Mapping[int, Course], ratio: float
    ) -> tuple[dict[int, int], float]:
        """Return how many units of each group go, and the ratio that is reached."""
        total = widths.cost({})
        removable = {index: self._removable(index) for index in courses}
        multiples = {index: self._multiple(index) for index in courses}
        gone, cost = widths.choose(courses, removable, multiples, ratio * total)
        return gone, cost / max(total, 1)

    def _faster(self, courses: Mapping[int, Course], wanted: float) -> Units:
        """Return the units without which the model is measured to be as fast as asked for.

        The ratio of multiply-accumulates is searched for by halving; nothing is refitted on the way.
        """
        from onnx_pare.sparsity.widths import Widths

        macs = {row.name: row.macs or 0 for row in self.cost.rows}
        widths = Widths.of_macs(self.groups, self.prunable, macs)
        low, high = 0.0, 1.0
        best: Units = {}
        ratio, least = wanted, 1.0
        for _ in range(ATTEMPTS):
            gone, reached = self._narrow(widths, courses, ratio)
            units = {index: courses[index].order[:count] for index, count in gone.items()}
            latency = self._latency(units) if units else 1.0
            least = min(least, latency)
            if latency <= wanted:
                best, low = units, max(reached, ratio)
                self.target = {"latency_ratio_measured": round(latency, 4)}
            else:
                high = ratio
            ratio = (low + high) / 2
        if not best:
            raise PassError(
                "prune_channels",
                f"latency_ratio {wanted:g} was not reached: the fastest that was tried is {least:.3g}",
                hint="Ask for more, lower `floor` and `min_channels`, or let another pass take its share.",
            )
        return best

    def _latency(self, units: Units) -> float:
        from onnx_pare.graph.groups import find_groups
        from onnx_pare.graph.surgery import remove_channels
        from onnx_pare.sparsity.prices import Prices

        changed = self.model.clone()
        remove_channels(changed, find_groups(changed, self.shapes), units)
        feeds, _ = next(self.context.samples.batches(1))
        return Prices(self.context.scratch, self.context.seed).compare(self.model, changed, feeds)[1]

    def _removable(self, index: int) -> int:
        return self.options.removable(self.prunable[index].units)

    def _multiple(self, index: int) -> int:
        from onnx_pare.sparsity.widths import multiple_of

        rounded = self.options.round_to
        return multiple_of(self.prunable[index]) if isinstance(rounded, str) else rounded

    def _rounded(self, index: int, count: int) -> int:
        """Return how many units go, so that those left are a multiple."""
        left = self.prunable[index].units - count
        return max(count - -left % self._multiple(index), 0)

    def _dead(self) -> Units:
        from onnx_pare.sparsity.dead import dead_units
        from onnx_pare.sparsity.metadata import read_measurement

        if read_measurement(self.model) is None:
            raise UsageError(
                "dead_only: the model does not say which channels never fire",
                hint="Run `annotate_relu_sparsity` before, on samples that stand for all the model will see.",
            )
        return {index: units for index, units in dead_units(self.groups).items() if index in self.prunable}

    def _remove(self, model: ir.Model, groups: Groups, units: Units) -> Mapping[ir.Value, Mapping[int, Any]]:
        """Remove units; annotated zeros remain true of what stays only if nothing but zeros went."""
        from onnx_pare.graph.surgery import remove_channels
        from onnx_pare.sparsity.metadata import forget_input, forget_zeros, keep_zeros

        kept = remove_channels(model, groups, units)
        if not self.options.dead_only:
            forget_zeros(model)
            return kept
        for node in model.graph:
            for axis, keep in kept.get(node.outputs[0], {}).items():
                keep_zeros(node, axis, keep)
            for slot, value in enumerate(node.inputs):
                if value in kept:
                    forget_input(node, slot)
        return kept

    def _refit(self, original: ir.Model, cuts: Mapping[ir.Value, Mapping[int, Any]]) -> None:
        from onnx_pare.sparsity.refit import refit

        refit(original, self.model, cuts, self.shapes, self._means())

    def _means(self) -> Means:
        from onnx_pare.sparsity.substitution import Means

        context, largest = self.context, self.shapes.largest_bytes
        return Means(context.samples, context.scratch, context.threads, context.progress, largest)

    def notes(self, units: Units) -> dict[str, Any]:
        """Return what is told of all groups, and of what was left alone."""
        return {
            "groups": len(self.prunable),
            "units": sum(group.units for group in self.prunable.values()),
            "removed_units": sum(map(len, units.values())),
            **self.target,
            "skipped": sorted(node.name or "" for node in self.skipped),
            "left_alone": [{"layers": list(left.layers), **asdict(left.stop)} for left in self.groups.left],
        }

    def warnings(self, units: Units) -> Iterator[str]:
        """Yield what the user should know."""
        from onnx_pare.sparsity.metadata import read_measurement

        measured = read_measurement(self.model)
        if self.options.dead_only and measured is not None:
            what = "synthetic samples" if measured.random else "samples"
            yield f"that these channels never fire rests on {measured.samples} {what} ({measured.source})"
        elif units and measured is not None:
            yield "the zeros annotated in the model were of other channels and are gone: annotate it again"
        if units and self.options.reads_data and self.context.samples.random:
            yield SYNTHETIC
        if not self.prunable:
            yield "no channels can be removed: `left_alone` in the report names what keeps them"
        elif not units and not self.options.dead_only and self.options.ratio != 0:
            yield "no group is so wide that this ratio removes a channel"


def _shares(
    courses: Mapping[int, Course],
    prunable: Mapping[int, Group],
    ratio: float,
    scope: str,
    removable: Callable[[int], int],
) -> dict[int, int]:
    """Return how many units of each group go: the ratio of each, or those of least harm over all."""
    if scope == "layer":
        return {i: min(int(ratio * prunable[i].units + 1e-9), removable(i)) for i in courses}
    steps = sorted(
        (course.harms[number + 1] - course.harms[number], index, number)
        for index, course in courses.items()
        for number in range(min(removable(index), len(course.order)))
    )
    wanted = int(ratio * sum(prunable[index].units for index in courses) + 1e-9)
    counts = dict.fromkeys(courses, 0)
    for _, index, _ in steps[:wanted]:
        counts[index] += 1
    return counts


def _widths(groups: Groups) -> dict[ir.Node, tuple[int, int]]:
    """Return the input and output channels that each layer's weights have (per group, if it has any)."""
    from onnx_pare.graph.edit import constant

    found = {}
    for layer in groups.axes.layers:
        array = constant(layer.weight)
        if array is not None:
            into = 1 if layer.in_axis is None else array.shape[layer.in_axis]
            found[layer.node] = (into, array.shape[layer.out_axis])
    return found


def _narrowed(
    before: Mapping[ir.Node, tuple[int, int]],
    cost_before: Cost,
    after: Mapping[ir.Node, tuple[int, int]],
    cost_after: Cost,
) -> list[dict[str, Any]]:
    """Return a note for each layer that lost channels on either side."""
    macs = [{row.name: row.macs for row in cost.rows} for cost in (cost_before, cost_after)]
    return [
        {
            "node": node.name,
            "op": node.op_type,
            "inputs_before": into,
            "inputs_after": after[node][0],
            "channels_before": out,
            "channels_after": after[node][1],
            "macs_before": macs[0].get(node.name or ""),
            "macs_after": macs[1].get(node.name or ""),
        }
        for node, (into, out) in before.items()
        if after[node] != (into, out)
    ]
