"""The pass `factorize`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_pare.passes.base import Context, Outcome, Pass, register
from onnx_pare.passes.ranks import RankOptions, substitute

if TYPE_CHECKING:
    import onnx_ir as ir


@register
class Factorize(Pass):
    """Split Gemm, MatMul and pointwise convolutions into two thinner ones, fitted to their outputs.

    The weights become a product of rank r, the best for the covariance of the layer's inputs. Ranks are
    chosen for all layers together, by the error they cause in the model's outputs and what they save,
    under one target. BatchNormalizations behind layers are folded first. Keeps names, types and shapes of
    inputs and outputs.
    """

    Options = RankOptions
    calibrates = True
    idempotent = False

    def reads_samples(self) -> bool:
        """Tell whether samples are needed: not for given ranks of the plain SVD."""
        return bool(self.options.reads_samples())

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Replace layers; `changed` counts them.

        Raises:
            PassError: The target cannot be reached.
            UsageError: A selector matches nothing.
            DataError: The model does not run on the samples.
        """
        from onnx_pare.sparsity.low_rank import LowRank

        return substitute(self.name, model, lambda shapes: LowRank(), self.options, context)
