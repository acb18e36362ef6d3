"""The kernels of MobileNet v1 and v2 at any width and resolution, for tables that name no graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# output channels and stride of each depthwise-separable block (Howard et al., "MobileNets", 2017, table 1)
V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
# expansion, output channels, repeats, stride (Sandler et al., "MobileNetV2", 2018, table 2)
V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
CLASSES, HEAD, FLOAT_BYTES = 1001, 1280, 4


def mobilenet(version: int, width: float, size: int) -> list[Any]:
    """Return the kernels, activations folded into convolutions, of a float32 net on a square image."""
    return (_v1 if version == 1 else _v2)(width, size)


@dataclass
class _Net:
    size: int
    channels: int
    kernels: list[Any]

    def conv(self, outer: int, kernel: int, stride: int, *, depthwise: bool = False) -> None:
        from onnx_pare.cost.kernels import Kernel

        before, self.size = self.size**2 * self.channels, -(-self.size // stride)
        rows, inner = self.size**2, 1 if depthwise else self.channels
        weights = kernel**2 * inner * outer
        self.kernels.append(
            Kernel(
                name=f"{len(self.kernels)}",
                op="Conv",
                op_class=_class(kernel, stride, inner, depthwise, rows),
                nodes=1,
                macs=rows * weights,
                read_bytes=before * FLOAT_BYTES,
                written_bytes=rows * outer * FLOAT_BYTES,
                weight_bytes=weights * FLOAT_BYTES,
                elements=rows * outer,
                inner=inner,
                outer=1 if depthwise else outer,
                rows=rows,
                window=kernel**2,
                stride=stride,
                groups=outer if depthwise else 1,
            )
        )
        self.channels = outer

    def plain(self, op: str, op_class: str, read: int, written: int) -> None:
        from onnx_pare.cost.kernels import Kernel

        self.kernels.append(
            Kernel(
                name=f"{len(self.kernels)}",
                op=op,
                op_class=op_class,
                nodes=1,
                macs=0,
                read_bytes=read * FLOAT_BYTES,
                written_bytes=written * FLOAT_BYTES,
                weight_bytes=0,
                elements=written,
            )
        )

    def classify(self) -> list[Any]:
        """Add pooling, the classifier and Softmax, and return all kernels."""
        self.plain("GlobalAveragePool", "reduce", self.size**2 * self.channels, self.channels)
        self.size = 1
        self.conv(CLASSES, 1, 1)
        self.plain("Softmax", "softmax", CLASSES, CLASSES)
        return self.kernels


def _class(kernel: int, stride: int, inner: int, depthwise: bool, rows: int) -> str:
    if depthwise:
        return "depthwise"
    if kernel == 1:
        return "pointwise" if rows > 1 else "fully_connected"
    if inner <= 3:
        return "stem"
    return "conv3x3" if stride == 1 else "conv_strided"


def _v1(width: float, size: int) -> list[Any]:
    net = _Net(size, 3, [])
    net.conv(_eighths(32 * width), 3, 2)
    for outer, stride in V1:
        net.conv(net.channels, 3, stride, depthwise=True)
        net.conv(_eighths(outer * width), 1, 1)
    return net.classify()


def _v2(width: float, size: int) -> list[Any]:
    net = _Net(size, 3, [])
    net.conv(_eighths(32 * width), 3, 2)
    for expansion, outer, repeats, stride in V2:
        for step in range(repeats):
            before = net.channels
            if expansion > 1:
                net.conv(before * expansion, 1, 1)
            net.conv(net.channels, 3, stride if step == 0 else 1, depthwise=True)
            net.conv(_eighths(outer * width), 1, 1)
            if step > 0:
                elements = net.size**2 * net.channels
                net.plain("Add", "elementwise", 2 * elements, elements)
    net.conv(max(HEAD, _eighths(HEAD * width)), 1, 1)
    return net.classify()


def _eighths(channels: float) -> int:
    """Round to a multiple of 8 that is no more than 10 % less, as TensorFlow's models do."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
