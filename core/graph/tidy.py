"""Clean-up that changes no number: onnx-ir's ready passes, and BatchNormalization folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_pare.graph.batchnorm import fold_batch_norms

if TYPE_CHECKING:
    import onnx_ir as ir


def tidy(model: ir.Model) -> None:
    """Remove in place what the model does not need.

    Constant nodes become initializers; Identity nodes, equal nodes, equal initializers, foldable
    BatchNormalizations, and what nothing uses go. Names, types and shapes of inputs and outputs are kept, and
    so are initializers that are also inputs.
    """
    from onnx_ir.passes import common

    common.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=0)(model)
    if not any(True for _ in model.graph.subgraphs()):
        # onnx-ir would make an outer value the output of a branch that only passes it on: no valid ONNX
        common.IdentityEliminationPass()(model)
    common.DeduplicateHashedInitializersPass()(model)
    common.CommonSubexpressionEliminationPass()(model)
    fold_batch_norms(model)
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
