"""The pass `substitute_dsc`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from onnx_pare.passes.base import Context, Outcome, Pass, register
from onnx_pare.passes.ranks import RankOptions, substitute

if TYPE_CHECKING:
    import onnx_ir as ir


class Options(RankOptions):
    """Keys of `substitute_dsc`."""

    form: Literal["sum", "concat", "multiplier"] = Field(
        "sum",
        description="ranks above 1 as pairs of a depthwise and a pointwise convolution, added up (fastest in"
        " float on CPUs); depthwise ones concatenated for one pointwise; or one depthwise with a multiplier",
    )


@register
class SubstituteDsc(Pass):
    """Replace K×K convolutions by depthwise K×K and pointwise 1×1 ones, fitted to their outputs.

    Each convolution of one group whose kernel has several positions may get a rank: so many depthwise
    filters for each input channel, and as many pointwise weights for each of them; strides, pads,
    dilations and bias are kept. Ranks are chosen for all layers together, by the error they cause in the
    model's outputs and what they save, under one target. BatchNormalizations behind convolutions are
    folded first. Keeps names, types and shapes of inputs and outputs.
    """

    Options = Options
    calibrates = True
    idempotent = False

    def reads_samples(self) -> bool:
        """Tell whether samples are needed: not for given ranks of the plain SVD."""
        return bool(self.options.reads_samples())

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Replace convolutions; `changed` counts them.

        Raises:
            PassError: The target cannot be reached.
            UsageError: A selector matches nothing.
            DataError: The model does not run on the samples.
        """
        from onnx_pare.sparsity.dsc import Dsc

        return substitute(
            self.name, model, lambda shapes: Dsc(self.options.form, shapes), self.options, context
        )
