"""The pass `factorize`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_pare.passes.base import register
from onnx_pare.passes.ranks import RankPass

if TYPE_CHECKING:
    from onnx_pare.graph.shapes import Shapes
    from onnx_pare.sparsity.substitution import Kind


@register
class Factorize(RankPass):
    """Split Gemm, MatMul and pointwise convolutions into two thinner ones, fitted to their outputs.

    The weights become a product of rank r, the best for the covariance of the layer's inputs. Ranks are
    chosen for all layers together, by the error they cause in the model's outputs and what they save,
    under one target. BatchNormalizations behind layers are folded first. Keeps names, types and shapes of
    inputs and outputs.
    """

    def kind(self, shapes: Shapes) -> Kind:
        """Return two thinner layers."""
        from onnx_pare.sparsity.low_rank import LowRank

        return LowRank()
