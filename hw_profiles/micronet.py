"""Builds small ONNX networks with random weights, in float32 or with everything quantized to 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

OPSET = 17
# any scale does: no kernel's time depends on it. A zero point of 0 lets runtimes drop a Relu before it
SCALE, ZERO = np.float32(0.05), 0


class MicroNet:
    """A network under construction; its methods add an operator and return the name of its output.

    Attributes:
        input: Name of what the first layer reads.
        width: Length of the input's last axis.
        integers: Whether weights, and what convolutions and matrix products read and make, are stored in 8
            bits between pairs of QuantizeLinear and DequantizeLinear, so that runtimes compute in integers.
    """

    def __init__(self, *shape: int, integers: bool = False) -> None:
        self.integers = integers
        self._shape, self.width = shape, shape[-1]
        self._rng = np.random.default_rng(0)
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._channels: dict[str, int] = {}
        self._stored: dict[str, str] = {}
        self._names = 0
        self.input = "input"
        self._channels[self.input] = shape[1]

    def conv(self, x: str, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        """Add a Conv with bias that keeps the map's size, divided by the stride."""
        inputs = self._channels[x]
        weight = self._weight((outputs, inputs // groups, kernel, kernel), inputs // groups * kernel**2)
        edge = (kernel - 1) // 2
        made = self._add(
            "Conv",
            [self._quantized(x), weight, self._bias(outputs)],
            strides=[stride] * 2,
            pads=[edge] * 4,
            group=groups,
            kernel_shape=[kernel] * 2,
        )
        self._channels[made] = outputs
        return made

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        """Add a MatMul with constant weights over the last axis, in float32 with a bias."""
        made = self._add("MatMul", [self._quantized(x), self._weight((inputs, outputs), inputs)])
        made = made if self.integers else self._add("Add", [made, self.random(outputs)])
        self._channels[made] = outputs
        return made

    def node(self, op: str, *inputs: str, channels: int = 0, **attributes: Any) -> str:
        """Add any other operator, computed in floating point. 0 channels: as many as it reads."""
        made = self._add(op, list(inputs), **attributes)
        self._channels[made] = channels or self._channels[inputs[0]]
        return made

    def stored(self, op: str, *inputs: str, channels: int = 0, **attributes: Any) -> str:
        """Add any other operator, with its inputs stored in 8 bits if this network computes in integers."""
        made = self._add(op, list(map(self._quantized, inputs)), **attributes)
        self._channels[made] = channels or self._channels[inputs[0]]
        return made

    def channels(self, x: str) -> int:
        """Return the length of the second axis of a map."""
        return self._channels[x]

    def random(self, *shape: int) -> str:
        """Return the name of a constant of normal numbers."""
        return self._constant(self._normal(*shape))

    def scalar(self, value: float) -> str:
        """Return the name of a constant number."""
        return self._constant(np.float32(value))

    def sizes(self, *values: int) -> str:
        """Return the name of a constant shape."""
        return self._constant(np.array(values, np.int64))

    def model(self, output: str) -> Any:
        """Return the network that ends at `output`, stored like all else, as a ModelProto."""
        from onnx import TensorProto, helper, numpy_helper, shape_inference

        output = self._quantized(output)
        given = helper.make_tensor_value_info("input", TensorProto.FLOAT, self._shape)
        made = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        weights = [numpy_helper.from_array(array, name) for name, array in self._constants.items()]
        graph = helper.make_graph(self._nodes, "micro", [given], [made], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        return shape_inference.infer_shapes(model)

    def feeds(self) -> dict[str, Any]:
        """Return random input."""
        return {"input": self._rng.standard_normal(self._shape, dtype=np.float32)}

    def _add(self, op: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        self._names += 1
        name = f"{op.lower()}_{self._names}"
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def _quantized(self, x: str) -> str:
        """Return a tensor as it is read back after it was stored in 8 bits; itself in float32."""
        if not self.integers:
            return x
        if x not in self._stored:
            scale, zero = self._constant(SCALE), self._zero("uint8")
            stored = self._add("QuantizeLinear", [x, scale, zero])
            self._stored[x] = self._add("DequantizeLinear", [stored, scale, zero])
            self._channels[self._stored[x]] = self._channels[x]
        return self._stored[x]

    def _weight(self, shape: tuple[int, ...], fan_in: int) -> str:
        if not self.integers:
            return self._constant(self._normal(*shape) * np.float32((2 / fan_in) ** 0.5))
        stored = self._constant(self._rng.integers(-64, 65, shape, dtype=np.int8))
        return self._add("DequantizeLinear", [stored, self._constant(SCALE), self._zero("int8")])

    def _bias(self, outputs: int) -> str:
        if not self.integers:
            return self.random(outputs)
        stored = self._constant(self._rng.integers(-64, 65, outputs, dtype=np.int32))
        zero = self._constant(np.int32(0))
        return self._add("DequantizeLinear", [stored, self._constant(SCALE * SCALE), zero])

    def _zero(self, dtype: str) -> str:
        return self._constant(np.asarray(ZERO, dtype))

    def _normal(self, *shape: int) -> Any:
        return self._rng.standard_normal(shape, dtype=np.float32)

    def _constant(self, value: Any) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants[name] = np.asarray(value)
        return name


# adds layers to a network and returns the name of the last output
Layers = Callable[[MicroNet], str]


@dataclass(frozen=True)
class Micro:
    """A small network to measure.

    Attributes:
        name: What it is made of.
        shape: Of its input.
        layers: What it consists of.
        integers: Whether it is also measured in 8 bits.
    """

    name: str
    shape: tuple[int, ...]
    layers: Layers
    integers: bool = False

    def build(self, *, integers: bool) -> tuple[Any, dict[str, Any]]:
        """Return the network as a ModelProto, and random input for it."""
        net = MicroNet(*self.shape, integers=integers)
        return net.model(self.layers(net)), net.feeds()
