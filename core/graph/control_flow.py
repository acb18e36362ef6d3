"""Following If, Loop and Scan into their subgraphs while walking a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from onnx_pare.graph.skeleton import subgraphs
from onnx_pare.graph.tensor_info import TensorInfo, from_type, is_concrete, tensor_type

if TYPE_CHECKING:
    import onnx

    from onnx_pare.graph.propagate import Walk

    Types = Sequence[onnx.TypeProto | None]


def fits(node: onnx.NodeProto) -> bool:
    """Return whether the subgraphs take and make as many values as the node; if not, onnxruntime tells."""
    made = {"If": 0, "Loop": 1, "Scan": 0}[node.op_type] + len(node.output)
    taken = 0 if node.op_type == "If" else len(node.input)
    bodies = subgraphs(node).values()
    return all(len(body.input) == taken and len(body.output) == made for body in bodies)


def follow_if(walk: Walk, node: onnx.NodeProto) -> None:
    """Walk the branch taken if the condition is known, else both; outputs on which they differ stay open."""
    branches = subgraphs(node)
    condition = walk.contents.get(node.input[0])
    if condition is not None:
        taken = "then_branch" if condition.all() else "else_branch"
        branches = {taken: branches[taken]}
    for branch in branches.values():
        walk.walk(branch)
    for position, name in enumerate(node.output):
        made = [branch.output[position].name for branch in branches.values()]
        kinds = [walk.types.get(inner) for inner in made]
        if kinds[0] is not None and all(kind == kinds[0] for kind in kinds) and not walk.known(name):
            walk.types[name] = kinds[0]
        if len(made) == 1 and made[0] in walk.contents:
            walk.contents[name] = walk.contents[made[0]]


def follow_loop(walk: Walk, node: onnx.NodeProto) -> None:
    """Walk the body with the states' first shapes; they must come out as they went in.

    The number of trips is known if the limit is and the condition, true at first, then always comes out true.
    """
    import numpy as np
    from onnx import TensorProto

    body = subgraphs(node)["body"]
    limit, condition = (walk.contents.get(name) for name in (*node.input[:2], "", "")[:2])
    begins = len(node.input) < 2 or not node.input[1] or (condition is not None and bool(condition.all()))
    if begins:
        walk.contents[body.input[1].name] = np.asarray(True)
    states = [walk.types.get(name) for name in node.input[2:]]
    counter, flag = tensor_type(TensorProto.INT64, ()), tensor_type(TensorProto.BOOL, ())
    if not _walk_body(walk, body, [counter, flag, *states], body.output[1 : 1 + len(states)], states):
        return
    goes_on = walk.contents.get(body.output[0].name)
    endless = begins and goes_on is not None and bool(goes_on.all())
    trips = int(limit.item()) if endless and limit is not None else None
    _set_outputs(walk, node, body.output[1:], len(states), trips, {})


def follow_scan(walk: Walk, node: onnx.NodeProto) -> None:
    """Walk the body with one slice of each scanned input. Opset 8 had another Scan; it is left open."""
    count = next(a.i for a in node.attribute if a.name == "num_scan_inputs")
    attributes = {a.name: list(a.ints) for a in node.attribute}
    kinds = [walk.types.get(name) for name in node.input]
    scanned = [from_type(kind) for kind in kinds[-count:] if kind is not None and is_concrete(kind)]
    if walk.opsets.get("", 1) < 9 or count < 1 or len(scanned) < count:
        return
    states = kinds[:-count]
    axes = attributes.get("scan_input_axes") or [0] * count
    ranks = [len(info.shape) for info in scanned]
    if len(axes) != count or any(not -rank <= axis < rank for axis, rank in zip(axes, ranks, strict=True)):
        return
    slices = [
        _slice(info, axis, kind) for info, axis, kind in zip(scanned, axes, kinds[-count:], strict=True)
    ]
    body = subgraphs(node)["body"]
    if _walk_body(walk, body, [*states, *slices], body.output[: len(states)], states):
        placed = dict(enumerate(attributes.get("scan_output_axes") or []))
        _set_outputs(walk, node, body.output, len(states), scanned[0].shape[axes[0]], placed)


FOLLOW: Mapping[str, Callable[[Walk, onnx.NodeProto], None]] = {
    "If": follow_if,
    "Loop": follow_loop,
    "Scan": follow_scan,
}


def _slice(info: TensorInfo, axis: int, kind: onnx.TypeProto | None) -> onnx.TypeProto:
    shape = list(info.shape)
    del shape[axis]
    return tensor_type(kind.tensor_type.elem_type if kind is not None else 0, shape)


def _walk_body(
    walk: Walk,
    body: onnx.GraphProto,
    given: Types,
    states_out: Sequence[onnx.ValueInfoProto],
    states_in: Types,
) -> bool:
    """Walk a body with the given input types; return whether the states kept theirs, else forget it all."""
    before = dict(walk.types)
    for value, kind in zip(body.input, given, strict=True):
        if kind is not None:
            walk.types[value.name] = kind
    walk.walk(body)
    pairs = zip(states_out, states_in, strict=True)
    kept = all(was is not None and walk.types.get(out.name) == was for out, was in pairs)
    if not kept:
        walk.types = before
    return kept


def _set_outputs(
    walk: Walk,
    node: onnx.NodeProto,
    made: Sequence[onnx.ValueInfoProto],
    states: int,
    trips: int | None,
    axes: Mapping[int, int],
) -> None:
    """Type the outputs of a Loop or Scan: the states, then what every trip added, stacked along an axis."""
    if trips is not None:
        walk.trips[next(name for name in node.output if name)] = trips
    for position, (name, out) in enumerate(zip(node.output, made, strict=True)):
        kind = walk.types.get(out.name)
        if not name or kind is None or walk.known(name):
            continue
        if position < states:
            walk.types[name] = kind
        elif trips is not None and is_concrete(kind):
            shape = list(from_type(kind).shape)
            axis = axes.get(position - states, 0)
            shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, trips)
            walk.types[name] = tensor_type(kind.tensor_type.elem_type, shape)
