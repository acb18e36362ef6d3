"""The pass `substitute_dsc`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from onnx_pare.passes.base import register
from onnx_pare.passes.ranks import RankOptions, RankPass

if TYPE_CHECKING:
    from onnx_pare.graph.shapes import Shapes
    from onnx_pare.sparsity.substitution import Kind


class Options(RankOptions):
    """Keys of `substitute_dsc`."""

    form: Literal["sum", "concat", "multiplier"] = Field(
        "sum",
        description="ranks above 1 as pairs of a depthwise and a pointwise convolution, added up (fastest in"
        " float on CPUs); depthwise ones concatenated for one pointwise; or one depthwise with a multiplier",
    )


@register
class SubstituteDsc(RankPass):
    """Replace K×K convolutions by depthwise K×K and pointwise 1×1 ones, fitted to their outputs.

    Each convolution of one group whose kernel has several positions may get a rank: so many depthwise
    filters for each input channel, and as many pointwise weights for each of them; strides, pads,
    dilations and bias are kept. Ranks are chosen for all layers together, by the error they cause in the
    model's outputs and what they save, under one target. BatchNormalizations behind convolutions are
    folded first. Keeps names, types and shapes of inputs and outputs.
    """

    Options = Options

    def kind(self, shapes: Shapes) -> Kind:
        """Return depthwise and pointwise convolutions."""
        from onnx_pare.sparsity.dsc import Dsc

        return Dsc(self.options.form, shapes)
