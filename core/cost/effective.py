"""The MACs that are left when those are skipped that multiply a zero.

Activations as measured and annotated in the model (see `sparsity.metadata`), weights as stored. With a_c the
fraction of zeros that a layer reads in channel c of the axis it sums up, and n_c the nonzero weights there:

    effective MACs = MACs · Σ_c (1 − a_c) · n_c / #W

For a matrix product that is what was counted on the samples, with channels to four decimals. A convolution is
taken to read all positions of its input equally often: strides and borders shift it a little, and padding
counts as read. Where the zeros of channels are not known, those of both operands are taken to fall
independently of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from onnx_pare.cost.call import operator
from onnx_pare.cost.contraction import along_summed
from onnx_pare.cost.macs import MACS, Rule
from onnx_pare.cost.memory import VIEWS
from onnx_pare.sparsity.metadata import read_input, read_zero_fraction

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from onnx_pare.cost.weights import Weights

    Densities = np.ndarray[Any, Any]

# operators that hand on the zeros of their input, in another shape or as integers
REARRANGING = VIEWS | {"DequantizeLinear", "QuantizeLinear", "Transpose"}


@dataclass(frozen=True, order=True)
class Macs:
    """Multiply-accumulates.

    Attributes:
        total: All of them.
        effective: Those that multiply no zero.
        nonzero_weight: Those whose weight is not zero.
        nonzero_activation: Those whose activation is not zero.
    """

    total: int = 0
    effective: int = 0
    nonzero_weight: int = 0
    nonzero_activation: int = 0

    def __add__(self, other: Macs) -> Macs:
        return Macs(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def facts(self) -> dict[str, int]:
        """Return them under the keys of `pare inspect --json`."""
        return {
            "macs": self.total,
            "effective_macs": self.effective,
            "nonzero_weight_macs": self.nonzero_weight,
            "nonzero_activation_macs": self.nonzero_activation,
        }

    def times(self, count: int) -> Macs:
        """Return those of so many runs."""
        return Macs(*(count * each for each in astuple(self)))


def left(node: ir.Node, rule: Rule, total: int, lookup: Weights) -> Macs:
    """Return what is left of a node's MACs."""
    weights = [_weights(node, rule, lookup)]
    read = [_read(node, slot) for slot in rule.operands if slot < len(node.inputs)]
    return Macs(total, *(round(total * _mean(kept)) for kept in ([*weights, *read], weights, read)))


def input_zero_fraction(node: ir.Node) -> float | None:
    """Return the fraction of zeros in the activation that a layer reads, None if it was not measured.

    Of two activations that are multiplied by each other, that of the one with more zeros.
    """
    rule = MACS.get(operator(node))
    shares = (read_input(node, slot) for slot in (rule.operands if rule else ()))
    return max((share.fraction for share in shares if share is not None), default=None)


def _mean(operands: Sequence[Densities]) -> float:
    """Return the mean of the product, channel by channel where all operands know as many."""
    import numpy as np

    lengths = {len(operand) for operand in operands if len(operand) > 1}
    if len(lengths) > 1:
        operands = [operand.mean(keepdims=True) for operand in operands]
    return float(np.mean(np.prod(np.broadcast_arrays(*operands), axis=0))) if operands else 1.0


def _weights(node: ir.Node, rule: Rule, lookup: Weights) -> Densities:
    """Return the fraction of nonzero weights of each channel, or overall; 1 if there are no weights."""
    import numpy as np

    found = {slot: lookup.at(node, slot) for slot in rule.operands}
    held = [slot for slot, weights in found.items() if weights]
    params = sum(weight.params for slot in held for weight in found[slot])
    nonzero = sum(weight.nonzero for slot in held for weight in found[slot])
    if nonzero == params:
        return np.ones(1)
    # a recurrent net has two, for its input and its state, and its MACs are the sum over both
    mask = lookup.nonzero(node, held[0]) if len(held) == 1 else None
    channels = None if mask is None else along_summed(node, rule.operands.index(held[0]), mask)
    return np.array([nonzero / params]) if channels is None else channels.mean(axis=1)


def _read(node: ir.Node, slot: int) -> Densities:
    """Return the fraction of nonzeros that a layer reads of each channel, or overall; 1 if not measured."""
    import numpy as np

    share = read_input(node, slot)
    if share is None:
        return np.array([1 - _made(node.inputs[slot])])
    channels = 1 - np.array(share.per_channel or [share.fraction])
    # the file rounds those of channels more than their mean
    return channels * ((1 - share.fraction) / channels.mean()) if channels.any() else channels


def _made(value: ir.Value | None) -> float:
    """Return the fraction of zeros in what a layer reads by way of views; 0 if it was not measured."""
    node = None if value is None else value.producer()
    while node is not None and node.op_type in REARRANGING and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return (read_zero_fraction(node) or 0.0) if node is not None else 0.0
