"""How channels pass through layers with weights, normalizations and pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.graph.axes import Axes, Layer, NotUnderstoodError
from onnx_pare.graph.axis_elementwise import broadcast, broadcast_into, pass_on
from onnx_pare.graph.edit import constant, inputs_used

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.ties import Ids

NORMALIZED = "normalizes over the channels"


def conv(axes: Axes, node: ir.Node) -> None:
    """Y = W · X + b, W being (C_out, C_in / groups, *kernel)."""
    x, w, bias, y, groups = _parts(axes, node, in_axis=1)
    if groups == 1:
        axes.join([(x, 1), (w, 1)])
        out = axes.get(w, 0)
    else:
        out = _grouped_conv(axes, x, w, groups)
    _finish(axes, y, bias, out)
    axes.layers.append(Layer(node, w, 0, None if _whole(axes, x, w, groups) else 1))


def _grouped_conv(axes: Axes, x: ir.Value, w: ir.Value, groups: int) -> Ids | None:
    """Whole groups go where they are many, else the same positions of every group."""
    into, out = axes.get(x, 1), axes.get(w, 0)
    if into is None:
        axes.freeze(w, axes.blame.get(x) or "its input channels cannot be removed")
        return out
    rows = into.reshape(groups, -1)
    outs = None if out is None else out.reshape(groups, -1)
    if _whole(axes, x, w, groups):
        axes.ties.tie(rows, rows[:, :1])
        if outs is not None:
            axes.ties.tie(outs, rows[:, :1])
        return out
    each = axes.get(w, 1)
    axes.ties.tie(rows, rows[:1] if each is None else each[None])
    if outs is not None:
        axes.ties.tie(outs, outs[:1])
    return out


def conv_transpose(axes: Axes, node: ir.Node) -> None:
    """W is (C_in, C_out / groups, *kernel)."""
    x, w, bias, y, groups = _parts(axes, node, in_axis=0)
    into = axes.join([(x, 1), (w, 0)])
    each = axes.get(w, 1)
    whole = _whole(axes, x, w, groups, out_each=axes.known(w)[1])
    if groups == 1:
        out = each
    elif into is None:
        axes.freeze(w, axes.blame.get(x) or "its input channels cannot be removed")
        out = None
    else:
        rows = into.reshape(groups, -1)
        axes.ties.tie(rows, rows[:, :1] if whole else rows[:1])
        out = np.repeat(rows[:, 0], axes.known(w)[1]) if whole else None
        if whole:
            axes.freeze(w, "its groups are whole", 1)
        elif each is not None:
            out = np.tile(each, groups)
    _finish(axes, y, bias, out)
    # without an axis of its own for the outputs a depthwise layer is named by the channels it reads
    axes.layers.append(Layer(node, w, 0 if whole else 1, None if whole else 0))


def _parts(
    axes: Axes, node: ir.Node, in_axis: int
) -> tuple[ir.Value, ir.Value, ir.Value | None, ir.Value, int]:
    """Return input, weights, bias, output and the number of groups of a convolution."""
    x, w = inputs_used(node)[:2]
    if constant(w) is None:
        raise NotUnderstoodError("its weights are not constant")
    for axis in (0, *range(2, len(axes.known(x)))):
        axes.fix(axes.of.get((x, axis)), "convolves over the channels")
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and constant(bias) is None:
        raise NotUnderstoodError("its bias is not constant")
    groups = node.attributes.get_int("group", 1)
    if in_axis == 1:
        groups = axes.known(x)[1] // axes.known(w)[1] if groups > 1 else 1
    return x, w, bias, node.outputs[0], groups


def _whole(axes: Axes, x: ir.Value, w: ir.Value, groups: int, out_each: int | None = None) -> bool:
    """Return whether groups go as a whole, which leaves more to choose from than equal parts of all do."""
    in_each = axes.known(x)[1] // groups
    out_each = axes.known(w)[0] // groups if out_each is None else out_each
    return groups > 1 and (in_each == 1 or groups >= max(in_each, out_each))


def _finish(axes: Axes, y: ir.Value, bias: ir.Value | None, out: Ids | None) -> None:
    axes.put(y, 1, out)
    if bias is not None and (own := axes.get(bias, 0)) is not None:
        if out is None:
            axes.freeze(bias, "is added to channels that cannot be removed")
        else:
            axes.ties.tie(own, out)


def gemm(axes: Axes, node: ir.Node) -> None:
    """Y = A · B + C."""
    a, b = inputs_used(node)[:2]
    k, m = (0, 1) if node.attributes.get_int("transA", 0) else (1, 0)
    n, k_of_b = (0, 1) if node.attributes.get_int("transB", 0) else (1, 0)
    _product(axes, node, (a, m, k), (b, k_of_b, n))
    if len(node.inputs) > 2:
        broadcast_into(axes, node.outputs[0], node.inputs[2])


def matmul(axes: Axes, node: ir.Node) -> None:
    """A is (…, M, K), B is (…, K, N)."""
    a, b = inputs_used(node)
    ranks = len(axes.known(a)), len(axes.known(b))
    if min(ranks) < 2:
        raise NotUnderstoodError("multiplies by a vector")
    _product(axes, node, (a, ranks[0] - 2, ranks[0] - 1), (b, ranks[1] - 2, ranks[1] - 1))
    broadcast(axes, node, last=2)


def _product(
    axes: Axes, node: ir.Node, left: tuple[ir.Value, int, int], right: tuple[ir.Value, int, int]
) -> None:
    """Tie what is summed over, and hand on the rows of the left operand and the columns of the right one."""
    (a, rows, summed), (b, other, columns), y = left, right, node.outputs[0]
    ids = axes.join([(a, summed), (b, other)])
    constants = [value for value in (a, b) if constant(value) is not None]
    if ids is not None and not constants:
        axes.contractions.append(ids)
    rank = len(axes.known(y))
    axes.put(y, rank - 2, axes.get(a, rows))
    axes.put(y, rank - 1, axes.get(b, columns))
    if constants == [b]:
        axes.layers.append(Layer(node, b, columns, other))
    elif constants == [a]:
        axes.layers.append(Layer(node, a, rows, summed))


def einsum(axes: Axes, node: ir.Node) -> None:
    """Axes of one letter run side by side; letters that the result lacks are summed over."""
    left, arrow, right = node.attributes.get_string("equation", "").replace(" ", "").partition("->")
    terms, operands = left.split(","), inputs_used(node)
    if not arrow or "." in left or any(constant(value) is not None for value in operands):
        raise NotUnderstoodError("its equation is not understood")
    for letter in sorted(set(left) - {","}):
        pairs = zip(operands, terms, strict=True)
        places = [(value, axis) for value, term in pairs for axis, own in enumerate(term) if own == letter]
        ids = axes.join([place for place in places if axes.known(place[0])[place[1]] > 1])
        if letter in right:
            axes.put(node.outputs[0], right.index(letter), ids)
        elif ids is not None:
            axes.contractions.append(ids)


def per_channel(axes: Axes, node: ir.Node) -> None:
    """BatchNormalization and InstanceNormalization: a parameter for each channel."""
    x, *parameters = inputs_used(node)
    if node.attributes.get_int("training_mode", 0) or any(v.uses() for v in node.outputs[1:]):
        raise NotUnderstoodError("is in training mode")
    if node.op_type == "InstanceNormalization":
        _fix_spatial(axes, x, NORMALIZED)
    pass_on(axes, x, node.outputs[0])
    axes.put(node.outputs[0], 1, axes.join([(x, 1), *((value, 0) for value in parameters)]))


def group_norm(axes: Axes, node: ir.Node) -> None:
    """GroupNormalization: whole groups."""
    x, *parameters = inputs_used(node)
    groups = node.attributes.get_int("num_groups", 1)
    _fix_spatial(axes, x, NORMALIZED)
    ids = axes.get(x, 1)
    if ids is None:
        for value in parameters:
            axes.freeze(value, axes.blame.get(x) or "its input channels cannot be removed")
        return
    if groups == 1:
        axes.fix(ids, NORMALIZED)
    rows = ids.reshape(groups, -1)
    axes.ties.tie(rows, rows[:, :1])
    for value in parameters:
        own = axes.get(value, 0)
        if own is not None:
            axes.ties.tie(own, ids if len(own) == len(ids) else rows[:, 0])
    axes.put(node.outputs[0], 1, ids)


def normalize(axes: Axes, node: ir.Node) -> None:
    """Softmax and LayerNormalization: what they normalize over stays."""
    x = inputs_used(node)[0]
    rank = len(axes.known(x))
    for axis in _normalized(axes, node, rank):
        axes.fix(axes.of.get((x, axis)), NORMALIZED)
    for value in inputs_used(node)[1:]:
        axes.freeze(value, NORMALIZED)
    pass_on(axes, x, node.outputs[0])


def _normalized(axes: Axes, node: ir.Node, rank: int) -> range:
    """Return the axes that one mean, sum or maximum is taken over."""
    if node.op_type == "LRN":
        return range(1, 2)
    old_softmax = axes.opset < 13 and "max" in node.op_type.lower()
    axis = node.attributes.get_int("axis", 1 if old_softmax else -1) % rank
    to_end = old_softmax or node.op_type in ("LayerNormalization", "RMSNormalization")
    return range(axis, rank if to_end else axis + 1)


def pool(axes: Axes, node: ir.Node) -> None:
    """Pooling keeps the channels of axis 1."""
    x = inputs_used(node)[0]
    if any(value.uses() for value in node.outputs[1:]):
        raise NotUnderstoodError("its positions are used")
    _fix_spatial(axes, x, "pools over the channels")
    for axis in (0, 1):
        axes.put(node.outputs[0], axis, axes.get(x, axis))


def _fix_spatial(axes: Axes, x: ir.Value, reason: str) -> None:
    for axis in range(2, len(axes.known(x))):
        axes.fix(axes.of.get((x, axis)), reason)


def recurrent(axes: Axes, node: ir.Node) -> None:
    """LSTM, GRU, RNN: the features they read; their own stay. W is (directions, gates · hidden, input)."""
    x, w, *others = node.inputs
    if x is None or w is None or constant(w) is None:
        raise NotUnderstoodError("its weights are not constant")
    for axis in (0, 1):
        axes.fix(axes.of.get((x, axis)), "runs over the channels")
    axes.join([(x, 2), (w, 2)])
    for axis in (0, 1):
        axes.freeze(w, "its hidden state is not followed", axis)
    for value in others:
        axes.freeze(value, "its hidden state is not followed")
    axes.layers.append(Layer(node, w, 1, 2))
