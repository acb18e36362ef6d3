"""Measured zero fractions as metadata inside the file, readable in Netron and by any ONNX tool.

On the node that makes an activation (`NodeProto.metadata_props`):

    onnx_pare.zero_fraction              "0.431200"       fraction of its elements that were exactly zero
    onnx_pare.zero_fraction_p10          "0.402"          a tenth of the samples had at most so many
    onnx_pare.zero_fraction_p90          "0.466"          nine tenths had at most so many
    onnx_pare.zero_fraction_per_channel  "[0.5,0.3624]"   the same per channel, JSON, four decimals
    onnx_pare.zero_fraction_histogram    "[0,0,0,1,0,1,0,0,0,0]"   channels per tenth of zeros, JSON
    onnx_pare.channel_axis               "1"              the axis that counts channels
    onnx_pare.dead_channels              "[7,12]"         channels that were zero in every sample, JSON

Where nothing is cut off but a slope changes below zero (LeakyRelu, PRelu) `negative_fraction` takes the place
of `zero_fraction`, and there are no dead channels. On a layer that multiplies, for the input at position N,
along the axis that the layer sums up:

    onnx_pare.input_N.zero_fraction, .zero_fraction_per_channel, .channel_axis

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
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onnx_pare.documents.json_input import parse_json
from onnx_pare.errors import ModelError
from onnx_pare.sparsity.share import Measurement, Share, Zeros

if TYPE_CHECKING:
    import onnx_ir as ir

PREFIX = "onnx_pare."
MODEL_PREFIX = f"{PREFIX}sparsity."
ZERO, NEGATIVE = "zero_fraction", "negative_fraction"
DEAD_CHANNELS = f"{PREFIX}dead_channels"


def read_zero_fraction(node: ir.Node) -> float | None:
    """Return the measured fraction of zeros in the node's output, None if it has not been measured."""
    text = node.metadata_props.get(PREFIX + ZERO)
    with _reading(f"node '{node.name}'"):
        return None if text is None else _fraction(text)


def read_zeros(node: ir.Node) -> Zeros | None:
    """Return all that was measured of the node's output, None if it has not been."""
    share = _read(node, PREFIX, ZERO)
    if share is None:
        return None
    with _reading(f"node '{node.name}'"):
        dead = tuple(int(index) for index in _numbers(node.metadata_props.get(DEAD_CHANNELS, "[]")))
    return Zeros(share.fraction, share.channel_axis, share.per_channel, dead, p10=share.p10, p90=share.p90)


def write_zeros(node: ir.Node, zeros: Zeros) -> bool:
    """Annotate the node in place of what it said before, and return whether that changed anything."""
    dead = {} if zeros.channel_axis is None else {DEAD_CHANNELS: _json(list(zeros.dead_channels))}
    return _replace(node, _properties(PREFIX, ZERO, zeros) | dead, _output_keys())


def read_negatives(node: ir.Node) -> Share | None:
    """Return how much of what a LeakyRelu or PRelu reads is negative, None if it has not been measured."""
    return _read(node, PREFIX, NEGATIVE)


def write_negatives(node: ir.Node, share: Share) -> bool:
    """Annotate a LeakyRelu or PRelu with it, and return whether that changed anything."""
    return _replace(node, _properties(PREFIX, NEGATIVE, share), _output_keys())


def read_input(node: ir.Node, slot: int) -> Share | None:
    """Return how much of a layer's input was zero, along the axis it sums up; None if not measured."""
    return _read(node, _input_prefix(slot), ZERO)


def write_input(node: ir.Node, slot: int, share: Share) -> bool:
    """Annotate a layer with it, and return whether that changed anything.

    The channels of an input without zeros are left out: there can be thousands.
    """
    prefix = _input_prefix(slot)
    known = share if share.fraction else Share(0.0)
    keys = (*_keys(prefix, ZERO), f"{prefix}channel_axis")
    found = _properties(prefix, ZERO, known)
    return _replace(node, {key: text for key, text in found.items() if not key.endswith("histogram")}, keys)


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


def forget_input(node: ir.Node, slot: int) -> None:
    """Remove what was measured of a layer's input."""
    _forget(node, _input_prefix(slot))


def forget_zeros(model: ir.Model) -> int:
    """Remove all annotations, and return how many nodes had any."""
    prefixes = PREFIX + ZERO, PREFIX + NEGATIVE, f"{PREFIX}input_", f"{PREFIX}channel_axis", DEAD_CHANNELS
    for key in [key for key in model.metadata_props if key.startswith(MODEL_PREFIX)]:
        del model.metadata_props[key]
    return sum(_forget(node, *prefixes) for graph in model.graphs() for node in graph)


def _forget(node: ir.Node, *prefixes: str) -> bool:
    keys = [key for key in node.metadata_props if key.startswith(prefixes)]
    for key in keys:
        del node.metadata_props[key]
    return bool(keys)


def read_measurement(model: ir.Model) -> Measurement | None:
    """Return what the model's annotations were measured on, None if it has none."""
    found = {
        key.removeprefix(MODEL_PREFIX): text
        for key, text in model.metadata_props.items()
        if key.startswith(MODEL_PREFIX)
    }
    if not found:
        return None
    with _reading("the model"):
        return Measurement(
            int(found["samples"]),
            found["source"],
            found["random"] == "true",
            _fraction(found["zero_fraction"]),
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


def _input_prefix(slot: int) -> str:
    return f"{PREFIX}input_{slot}."


def _keys(prefix: str, name: str) -> tuple[str, ...]:
    return tuple(f"{prefix}{name}{end}" for end in ("", "_p10", "_p90", "_per_channel", "_histogram"))


def _output_keys() -> tuple[str, ...]:
    return (*_keys(PREFIX, ZERO), *_keys(PREFIX, NEGATIVE), f"{PREFIX}channel_axis", DEAD_CHANNELS)


def _read(node: ir.Node, prefix: str, name: str) -> Share | None:
    total, p10, p90, per_channel, _ = (node.metadata_props.get(key) for key in _keys(prefix, name))
    if total is None:
        return None
    axis = node.metadata_props.get(f"{prefix}channel_axis")
    with _reading(f"node '{node.name}'"):
        return Share(
            _fraction(total),
            None if axis is None else int(axis),
            _numbers(per_channel or "[]"),
            p10=None if p10 is None else _fraction(p10),
            p90=None if p90 is None else _fraction(p90),
        )


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turn what damaged metadata raises into a ModelError that names `where`."""
    try:
        yield
    except (ValueError, KeyError) as error:
        raise ModelError(
            f"{where}: its metadata '{PREFIX}…' is damaged: {error}",
            hint="Measure again from the original model: annotate_relu_sparsity.",
        ) from error


def _fraction(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise ValueError(f"{text[:20]} is no fraction")
    return number


def _numbers(text: str) -> tuple[float, ...]:
    found = parse_json(text.encode(), "metadata", noun="list of numbers", error=ModelError)
    if not isinstance(found, list) or any(type(number) not in (int, float) for number in found):
        raise ValueError(f"'{text[:20]}' is no list of numbers")
    return tuple(found)


def _properties(prefix: str, name: str, share: Share) -> dict[str, str]:
    total, p10, p90, per_channel, histogram = _keys(prefix, name)
    properties = {total: _decimal(share.fraction)}
    if share.p10 is not None and share.p90 is not None:
        properties |= {p10: f"{share.p10:.3f}", p90: f"{share.p90:.3f}"}
    if share.channel_axis is not None:
        properties[per_channel] = _json([round(fraction, 4) for fraction in share.per_channel])
        properties[histogram] = _json(list(share.histogram))
        properties[f"{prefix}channel_axis"] = str(share.channel_axis)
    return properties


def _replace(node: ir.Node, properties: Mapping[str, str], keys: tuple[str, ...]) -> bool:
    """Write the properties, and remove those of `keys` that are not among them."""
    stale = [key for key in keys if key in node.metadata_props and key not in properties]
    for key in stale:
        del node.metadata_props[key]
    return _put(node.metadata_props, properties) or bool(stale)


def _put(target: MutableMapping[str, str], properties: Mapping[str, str]) -> bool:
    changed = any(target.get(key) != text for key, text in properties.items())
    target.update(properties)
    return changed


def _decimal(fraction: float) -> str:
    return f"{fraction:.6f}"


def _json(values: list[float] | list[int]) -> str:
    return json.dumps(values, separators=(",", ":"))
