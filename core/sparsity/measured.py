"""What `annotate_relu_sparsity` measures: three kinds of entries, each with its annotation and its facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from onnx_pare.sparsity.metadata import NEGATIVE, ZERO, write_input, write_negatives, write_zeros

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.sparsity.counting import ZeroCounter


@dataclass(frozen=True)
class Activation:
    """The zeros in the output of a node that makes them."""

    key: ClassVar[str] = "activations"
    node: ir.Node
    counter: ZeroCounter

    def write(self, samples: int) -> bool:
        """Annotate the node and return whether that changed anything."""
        return write_zeros(self.node, self.counter.zeros(samples))

    def facts(self, samples: int) -> dict[str, Any]:
        """Return what the report says."""
        return self.counter.zeros(samples).facts(ZERO)


@dataclass(frozen=True)
class Bend:
    """The negative share of what a LeakyRelu or PRelu reads."""

    key: ClassVar[str] = "negative_shares"
    node: ir.Node
    counter: ZeroCounter

    def write(self, samples: int) -> bool:
        """Annotate the node and return whether that changed anything."""
        return write_negatives(self.node, self.counter.share(samples))

    def facts(self, samples: int) -> dict[str, Any]:
        """Return what the report says."""
        return self.counter.share(samples).facts(NEGATIVE)


@dataclass(frozen=True)
class Layer:
    """The zeros in one of the activations that a layer multiplies."""

    key: ClassVar[str] = "layers"
    node: ir.Node
    counter: ZeroCounter
    slot: int

    def write(self, samples: int) -> bool:
        """Annotate the node and return whether that changed anything."""
        return write_input(self.node, self.slot, self.counter.share())

    def facts(self, samples: int) -> dict[str, Any]:
        """Return what the report says."""
        return {"input": self.slot, "input_zero_fraction": round(self.counter.share().fraction, 6)}


Entry = Activation | Bend | Layer
