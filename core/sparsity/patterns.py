"""Which zeros are wanted: a fraction of all, of blocks, or N:M; as a mask of what matters least."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnx_pare.graph.edit import set_constant
from onnx_pare.sparsity.prunable import Weight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onnx_pare.sparsity.second_order import Grain

    Array = np.ndarray[Any, Any]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Pattern:
    """What is to become zero in one layer.

    Attributes:
        sparsity: Fraction of the weights, or of the blocks.
        kept: Of each `group` consecutive input channels so many stay; None: no such rule.
        group: See `kept`.
        block: Rows and columns of what goes as one in the matrix of (outputs, inputs).
    """

    sparsity: float = 0.5
    kept: int | None = None
    group: int = 1
    block: tuple[int, int] | None = None

    def fits(self, weight: Weight) -> bool:
        """Tell whether the input channels split into groups."""
        return self.kept is None or not weight.read().shape[weight.axis] % self.group

    def mask(self, weight: Weight, importance: Array) -> Mask:
        """Return what becomes zero, in the weight's shape.

        Args:
            weight: A weight that the pattern fits.
            importance: What each weight matters, in its shape: magnitudes, or costs.
        """
        from onnx_pare.sparsity import masks

        if self.kept is not None:
            return masks.n_of_m(importance, self.kept, self.group, weight.axis)
        if self.block is None:
            return masks.smallest(importance, masks.zeros_wanted(importance.size, self.sparsity))
        matrix = weight.to_matrix(importance)
        return weight.from_matrix(masks.blocks(matrix, *self.block, self.sparsity), importance.shape)

    def choose(self, importance: Array, sparsity: float) -> Mask:
        """Return what becomes zero on the way to the pattern, at a fraction of its own.

        Args:
            importance: Shape (outputs, inputs), the inputs ordered by groups.
            sparsity: The fraction.
        """
        import numpy as np

        from onnx_pare.sparsity import masks

        if self.block is not None:
            return masks.blocks(importance, *self.block, sparsity)
        count = masks.zeros_wanted(importance.size, sparsity)
        if self.kept is not None:
            mask = masks.n_of_m(importance, self.kept, self.group, 1)
            importance = np.where(mask, importance, np.inf)
            count = min(count, int(np.count_nonzero(mask)))
        return masks.smallest(importance, count)

    @property
    def grain(self) -> Grain:
        """What goes together, and what stays."""
        from onnx_pare.sparsity.second_order import Grain

        rows, columns = self.block or (1, 1)
        return Grain(rows, columns, self.kept or 0, self.group)

    def new_zeros(self, weight: Weight) -> int:
        """Return how many weights would become zero that are not: 0 where the pattern is there already."""
        import numpy as np

        array = weight.read()
        return int(np.count_nonzero(array[self.mask(weight, array)]))

    def zero_smallest(self, weight: Weight) -> None:
        """Zero the weights of smallest magnitude; where none is new, the tensor stays, byte for byte."""
        import numpy as np

        array = weight.read()
        mask = self.mask(weight, array)
        if np.any(array[mask]):
            set_constant(weight.value, np.where(mask, array.dtype.type(0), array))

    def spread(self, read: Callable[[], Iterable[Array]], count: int) -> list[Pattern]:
        """Return a pattern for each layer with which together they lose `count` weights, the least first.

        Args:
            read: Starts over and yields what the weights of each layer matter.
            count: How many weights go.
        """
        from onnx_pare.sparsity import masks

        counts = zip(masks.shares(read, count), read(), strict=True)
        return [replace(self, sparsity=own / array.size) for own, array in counts]
