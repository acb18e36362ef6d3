"""Removing whole channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from onnx_pare.errors import PassError, UsageError
from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions, register
from onnx_pare.passes.ranks import SYNTHETIC, Ratio, means_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.cost.count import Cost
    from onnx_pare.graph.groups import Group, Groups
    from onnx_pare.graph.shapes import Shapes
    from onnx_pare.sparsity.courses import Criterion
    from onnx_pare.sparsity.elimination import Course
    from onnx_pare.sparsity.narrowing import Units
    from onnx_pare.sparsity.substitution import Means

TARGETS = ("ratio", "macs_ratio", "params_ratio", "latency_ratio")
USUAL_RATIO = 0.3
# for a latency: narrower steps saved multiply-accumulates but no time, on ResNet-20
BLOCK = 8


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
        " group at most, but 8 for a latency",
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
    def means(self) -> Means:
        """What there is to fit with."""
        return means_of(self.context, self.shapes)

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
        from onnx_pare.sparsity.narrowed import narrowed, take_away, widths_of
        from onnx_pare.sparsity.refit import refit

        dead_only = self.options.dead_only
        units = {index: chosen for index, chosen in self._chosen().items() if len(chosen)}
        if not units:
            return None
        warnings = tuple(self.warnings(units))
        original, widths, before = self.model.clone(), widths_of(self.groups), self.cost
        cuts = take_away(self.model, self.groups, units, only_zeros=dead_only)
        if self.options.refit and not dead_only:
            self.target["refitted"] = len(refit(original, self.model, cuts, self.shapes, self.means))
        after = count(self.model, infer(self.model, self.feeds))
        layers = [*narrowed(widths, widths_of(self.groups), [_macs(before), _macs(after)])]
        changed = sum(layer["channels_before"] - layer["channels_after"] for layer in layers)
        notes = {"layers": layers, "macs_before": before.macs, "macs_after": after.macs, **self.notes(units)}
        return Outcome(self.model, max(changed, 1), notes, warnings)

    def _chosen(self) -> Units:
        """Return the units to remove, for the target."""
        from onnx_pare.sparsity.narrowing import Limits, Narrowing

        options = self.options
        if options.dead_only:
            return self._dead()
        rounded = None if isinstance(options.round_to, str) else options.round_to
        block = 1 if options.latency_ratio is None else BLOCK
        limits = Limits(options.min_channels, options.floor, rounded, block)
        narrowing = Narrowing(self.groups, self.courses, limits)
        macs = {name: count or 0 for name, count in _macs(self.cost).items()}
        if options.macs_ratio is not None:
            return self._met("macs_ratio", narrowing.to_macs(options.macs_ratio, macs))
        if options.params_ratio is not None:
            return self._met("params_ratio", narrowing.to_params(options.params_ratio, self.cost.params))
        if options.latency_ratio is not None:
            units, reached = narrowing.to_latency(options.latency_ratio, macs, self._latency)
            self.target["latency_ratio_measured"] = round(reached, 4)
            return self._met("latency_ratio", (units, reached))
        return narrowing.by_share(USUAL_RATIO if options.ratio is None else options.ratio, options.scope)

    @cached_property
    def courses(self) -> dict[int, Course]:
        """In which order the units of each group go."""
        from onnx_pare.sparsity.courses import by_data, by_norm
        from onnx_pare.sparsity.harm import harm_on

        criterion: Criterion = self.options.criterion
        if criterion == "l1" or criterion == "l2":
            return by_norm(self.prunable, criterion)
        harm = harm_on(self.model, self.cost.macs, len(self.groups.axes.layers), self.means)
        return by_data(self.model, self.groups, self.prunable, criterion, self.means, harm)

    def _met(self, target: str, found: tuple[Units, float]) -> Units:
        units, reached = found
        wanted = getattr(self.options, target)
        if reached > wanted:
            raise PassError(
                "prune_channels",
                f"{target} {wanted:g} cannot be reached: the least that was found is {reached:.3g}",
                hint="Ask for more, lower `floor` and `min_channels`, or let another pass take its share.",
            )
        return units

    def _latency(self, units: Units) -> float:
        """Return the latency without these units, after / before; nothing is refitted."""
        from onnx_pare.graph.groups import find_groups
        from onnx_pare.graph.surgery import remove_channels
        from onnx_pare.sparsity.prices import Prices

        changed = self.model.clone()
        remove_channels(changed, find_groups(changed, self.shapes), units)
        feeds, _ = next(self.context.samples.batches(1))
        return Prices(self.context.scratch, self.context.seed).compare(self.model, changed, feeds)[1]

    def _dead(self) -> Units:
        from onnx_pare.sparsity.dead import dead_units
        from onnx_pare.sparsity.metadata import read_measurement

        if read_measurement(self.model) is None:
            raise UsageError(
                "dead_only: the model does not say which channels never fire",
                hint="Run `annotate_relu_sparsity` before, on samples that stand for all the model will see.",
            )
        return {index: units for index, units in dead_units(self.groups).items() if index in self.prunable}

    def _unread(self) -> list[dict[str, Any]]:
        """Return a note for each group that data say nothing about, as no fixed weights multiply it."""
        unread = [] if self.options.dead_only else sorted(self.prunable.keys() - self.courses.keys())
        return [
            {
                "layers": list(
                    dict.fromkeys(part.node.name or "" for part in self.prunable[index].producers)
                ),
                "node": self.prunable[index].name,
                "op": self.prunable[index].producers[0].node.op_type,
                "reason": "no layer's weights read these channels: only `criterion: l1` or `l2` judges them",
            }
            for index in unread
        ]

    def notes(self, units: Units) -> dict[str, Any]:
        """Return what is told of all groups, and of what was left alone."""
        left = [{"layers": list(left.layers), **asdict(left.stop)} for left in self.groups.left]
        return {
            "groups": len(self.prunable),
            "units": sum(group.units for group in self.prunable.values()),
            "removed_units": sum(map(len, units.values())),
            **self.target,
            "skipped": sorted(node.name or "" for node in self.skipped),
            "left_alone": left + self._unread(),
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


def _macs(cost: Cost) -> dict[str, int | None]:
    return {row.name: row.macs for row in cost.rows}
