"""Removing whole channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from onnx_pare.errors import UsageError
from onnx_pare.graph.select import select
from onnx_pare.passes.base import Context, Outcome, Pass, PassOptions, register

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.cost.count import Cost
    from onnx_pare.graph.groups import Group, Groups
    from onnx_pare.graph.shapes import Shapes

    Units = Mapping[int, Sequence[int]]


class Options(PassOptions):
    """Options of `prune_channels`."""

    ratio: float = Field(0.3, ge=0, lt=1, description="fraction of the channels of every group to remove")
    criterion: Literal["l1", "l2"] = Field(
        "l1", description="norm of the weights that make a channel; the least go"
    )
    scope: Literal["layer", "global"] = Field(
        "layer", description="whether the fraction holds in every group, or over all groups together"
    )
    round_to: int = Field(1, ge=1, description="what is left of a group is a multiple of this")
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
        for name in ("ratio", "criterion", "scope", "round_to", "min_channels", "floor"):
            if self.dead_only and name in self.model_fields_set:
                raise ValueError(f"{name}: `dead_only` removes what is dead and nothing else; leave it out")
        return self

    def removable(self, units: int) -> int:
        """Return how many units a group may lose at most."""
        return max(units - max(self.min_channels, ceil(self.floor * units - 1e-9)), 0)


@dataclass(frozen=True)
class _Found:
    """What can be pruned.

    Attributes:
        groups: All groups.
        prunable: Those that no selector leaves alone, by number.
        skipped: The nodes that selectors name.
    """

    groups: Groups
    prunable: dict[int, Group]
    skipped: set[ir.Node]


@register
class PruneChannels(Pass):
    """Remove channels, with everything that makes, carries and reads them: the model becomes narrower.

    Channels that residual additions, depthwise convolutions, shuffles and the like tie together go together.
    Those that meet something not understood stay, and the report names it. Keeps names, types and shapes of
    inputs and outputs, and the names of nodes and weights.
    """

    Options = Options
    idempotent = False

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Remove channels in place; `changed` counts output channels of layers.

        Raises:
            UsageError: A selector of `skip` matches nothing, or `dead_only` is asked of a model without
                annotations.
        """
        from onnx_pare.cost.count import count
        from onnx_pare.graph.shapes import infer

        options: Options = self.options
        feeds = {name: array.shape for name, array in next(iter(context.samples)).items()}
        shapes = infer(model, feeds)
        found = _find(model, options, shapes)
        units = _dead(model, found) if options.dead_only else _ranked(found, options)
        notes, warnings = _left_notes(found, units), list(_warnings(model, found, units, options))
        if not units:
            return Outcome(model, 0, notes, tuple(warnings))
        before, widths = count(model, shapes), _widths(found.groups)
        _remove(model, found.groups, units, options)
        layers = _narrowed(widths, before, _widths(found.groups), count(model, infer(model, feeds)))
        changed = sum(layer["channels_before"] - layer["channels_after"] for layer in layers)
        return Outcome(model, max(changed, 1), {"layers": layers, **notes}, tuple(warnings))


def _find(model: ir.Model, options: Options, shapes: Shapes) -> _Found:
    from onnx_pare.graph.groups import find_groups

    groups = find_groups(model, shapes)
    skipped = select((node for graph in model.graphs() for node in graph), options.skip, "skip")
    prunable = {
        index: group
        for index, group in groups.items()
        if skipped.isdisjoint(part.node for part in group.producers)
    }
    return _Found(groups, prunable, skipped)


def _ranked(found: _Found, options: Options) -> Units:
    """Return the units of least weight of each group."""
    from onnx_pare.sparsity.importance import least, least_of_all, rounded, weight_norms

    scores = {index: weight_norms(group, options.criterion) for index, group in found.prunable.items()}
    removable = {index: options.removable(len(own)) for index, own in scores.items()}
    if options.scope == "global":
        chosen = least_of_all(scores, removable, options.ratio)
    else:
        wanted = {index: int(options.ratio * len(own) + 1e-9) for index, own in scores.items()}
        chosen = {index: least(own, min(wanted[index], removable[index])) for index, own in scores.items()}
    kept = {index: rounded(units, len(scores[index]), options.round_to) for index, units in chosen.items()}
    return {index: units for index, units in kept.items() if units}


def _dead(model: ir.Model, found: _Found) -> Units:
    from onnx_pare.sparsity.dead import dead_units
    from onnx_pare.sparsity.metadata import read_measurement

    if read_measurement(model) is None:
        raise UsageError(
            "dead_only: the model does not say which channels never fire",
            hint="Run `annotate_relu_sparsity` before, on samples that stand for all the model will see.",
        )
    return {index: units for index, units in dead_units(found.groups).items() if index in found.prunable}


def _remove(model: ir.Model, groups: Groups, units: Units, options: Options) -> None:
    """Remove units; annotated zeros remain true of what stays only if nothing but zeros went."""
    from onnx_pare.graph.surgery import remove_channels
    from onnx_pare.sparsity.metadata import forget_input, forget_zeros, keep_zeros

    kept = remove_channels(model, groups, units)
    if not options.dead_only:
        forget_zeros(model)
        return
    for node in model.graph:
        for axis, keep in kept.get(node.outputs[0], {}).items():
            keep_zeros(node, axis, keep)
        for slot, value in enumerate(node.inputs):
            if value in kept:
                forget_input(node, slot)


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


def _left_notes(found: _Found, units: Units) -> dict[str, Any]:
    """Return what is told of all groups, and of what was left alone."""
    return {
        "groups": len(found.prunable),
        "units": sum(group.units for group in found.prunable.values()),
        "removed_units": sum(map(len, units.values())),
        "skipped": sorted(node.name or "" for node in found.skipped),
        "left_alone": [{"layers": list(left.layers), **asdict(left.stop)} for left in found.groups.left],
    }


def _warnings(model: ir.Model, found: _Found, units: Units, options: Options) -> Iterator[str]:
    from onnx_pare.sparsity.metadata import read_measurement

    measured = read_measurement(model)
    if options.dead_only and measured is not None:
        what = "synthetic samples" if measured.random else "samples"
        yield f"that these channels never fire rests on {measured.samples} {what} ({measured.source})"
    elif units and measured is not None:
        yield "the zeros annotated in the model were those of other channels and are gone: annotate it again"
    if not found.prunable:
        yield "no channels can be removed: `left_alone` in the report names what keeps them"
    elif not units and not options.dead_only and options.ratio:
        yield "no group is so wide that this ratio removes a channel"
