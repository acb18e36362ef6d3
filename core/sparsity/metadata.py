"""Measured zero fractions as metadata inside the file, readable in Netron and by any ONNX tool.

On the node that makes an activation (`NodeProto.metadata_props`):

    onnx_pare.zero_fraction              "0.431200"       fraction of its elements that were exactly zero
    onnx_pare.zero_fraction_per_channel  "[0.5,0.3624]"   the same per channel, JSON, four decimals
    onnx_pare.channel_axis               "1"              the axis that counts channels
    onnx_pare.dead_channels              "[7,12]"         channels that were zero in every sample, JSON

On the model (`ModelProto.metadata_props`):

    onnx_pare.sparsity.samples           "128"            samples measured
    onnx_pare.sparsity.source            "images"         where they came from
    onnx_pare.sparsity.random            "false"          whether they were synthetic
    onnx_pare.sparsity.zero_fraction     "0.512300"       over all annotated activations together
    onnx_pare.sparsity.tool              "onnx-pare 0.1.0"

ONNX defines node metadata from IR version 10 on; onnx.checker and onnxruntime accept it in older files too,
which therefore keep their IR version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

PREFIX = "onnx_pare."
FRACTION = f"{PREFIX}zero_fraction"
PER_CHANNEL = f"{PREFIX}zero_fraction_per_channel"
CHANNEL_AXIS = f"{PREFIX}channel_axis"
DEAD_CHANNELS = f"{PREFIX}dead_channels"
_NODE_KEYS = (FRACTION, PER_CHANNEL, CHANNEL_AXIS, DEAD_CHANNELS)
MODEL_PREFIX = f"{PREFIX}sparsity."


@dataclass(frozen=True)
class Zeros:
    """How much of an activation is exactly zero.

    Attributes:
        fraction: Over all elements, 0 to 1.
        channel_axis: The axis that counts channels; None if it has none.
        per_channel: The fraction of each channel.
        dead_channels: Channels that were zero everywhere in every sample.
    """

    fraction: float
    channel_axis: int | None = None
    per_channel: tuple[float, ...] = ()
    dead_channels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """What the zero fractions of a model were measured on.

    Attributes:
        samples: How many samples.
        source: Where they came from.
        random: Whether they were synthetic.
        zero_fraction: Over all annotated activations together.
        tool: Name and version of the program.
    """

    samples: int
    source: str
    random: bool
    zero_fraction: float
    tool: str


def read_zero_fraction(node: ir.Node) -> float | None:
    """Return the measured fraction of zeros in the node's output, None if it has not been measured."""
    text = node.metadata_props.get(FRACTION)
    return None if text is None else float(text)


def read_zeros(node: ir.Node) -> Zeros | None:
    """Return all that was measured of the node's output, None if it has not been."""
    fraction = read_zero_fraction(node)
    if fraction is None:
        return None
    properties = node.metadata_props
    axis = properties.get(CHANNEL_AXIS)
    return Zeros(
        fraction,
        None if axis is None else int(axis),
        tuple(json.loads(properties.get(PER_CHANNEL, "[]"))),
        tuple(json.loads(properties.get(DEAD_CHANNELS, "[]"))),
    )


def write_zeros(node: ir.Node, zeros: Zeros) -> bool:
    """Annotate the node in place of what it said before, and return whether that changed anything."""
    properties = {FRACTION: _decimal(zeros.fraction)}
    if zeros.channel_axis is not None:
        properties[PER_CHANNEL] = _json([round(fraction, 4) for fraction in zeros.per_channel])
        properties[CHANNEL_AXIS] = str(zeros.channel_axis)
        properties[DEAD_CHANNELS] = _json(list(zeros.dead_channels))
    stale = [key for key in _NODE_KEYS if key in node.metadata_props and key not in properties]
    for key in stale:
        del node.metadata_props[key]
    return _put(node.metadata_props, properties) or bool(stale)


def keep_zeros(node: ir.Node, axis: int, keep: Iterable[bool]) -> None:
    """Leave in a node's annotation the channels that stay, if it counts them along this axis."""
    zeros = read_zeros(node)
    if zeros is None or zeros.channel_axis != axis:
        return
    stay = [channel for channel, kept in enumerate(keep) if kept]
    fractions = tuple(zeros.per_channel[channel] for channel in stay)
    dead = tuple(place for place, channel in enumerate(stay) if channel in set(zeros.dead_channels))
    # all channels have equally many elements
    write_zeros(node, Zeros(sum(fractions) / len(fractions), axis, fractions, dead))


def forget_zeros(model: ir.Model) -> int:
    """Remove all annotations, and return how many nodes had any."""
    nodes = [node for graph in model.graphs() for node in graph if FRACTION in node.metadata_props]
    for node in nodes:
        for key in _NODE_KEYS:
            node.metadata_props.pop(key, None)
    for key in [key for key in model.metadata_props if key.startswith(MODEL_PREFIX)]:
        del model.metadata_props[key]
    return len(nodes)


def read_measurement(model: ir.Model) -> Measurement | None:
    """Return what the model's annotations were measured on, None if it has none."""
    found = {
        key.removeprefix(MODEL_PREFIX): text
        for key, text in model.metadata_props.items()
        if key.startswith(MODEL_PREFIX)
    }
    if not found:
        return None
    return Measurement(
        int(found["samples"]),
        found["source"],
        found["random"] == "true",
        float(found["zero_fraction"]),
        found["tool"],
    )


def write_measurement(model: ir.Model, measurement: Measurement) -> bool:
    """Annotate the model and return whether that changed anything."""
    values = {
        "samples": str(measurement.samples),
        "source": measurement.source,
        "random": str(measurement.random).lower(),
        "zero_fraction": _decimal(measurement.zero_fraction),
        "tool": measurement.tool,
    }
    return _put(model.metadata_props, {MODEL_PREFIX + key: text for key, text in values.items()})


def _put(target: MutableMapping[str, str], properties: Mapping[str, str]) -> bool:
    changed = any(target.get(key) != text for key, text in properties.items())
    target.update(properties)
    return changed


def _decimal(fraction: float) -> str:
    return f"{fraction:.6f}"


def _json(values: list[float] | list[int]) -> str:
    return json.dumps(values, separators=(",", ":"))
