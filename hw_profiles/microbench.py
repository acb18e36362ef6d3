"""The small networks that a machine is calibrated on: some for each class of operators, and some to check on.

A few layers of one class follow each other in each, at shapes of well-known networks, so that what their class
costs stands out. `CHECKS` are small networks like those that people run; no parameter is fitted to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnx_pare.hw_profiles.micronets import MicroNet

# adds layers to a network and returns the name of the last output
Layers = Callable[[MicroNet], str]


@dataclass(frozen=True)
class Micro:
    """A small network.

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

    def build(self, *, integers: bool) -> tuple[MicroNet, str]:
        """Return the network and the name of its output."""
        net = MicroNet(*self.shape, integers=integers)
        return net, self.layers(net)


def _convs(repeats: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Layers:
    def layers(net: MicroNet) -> str:
        x = net.input
        for _ in range(repeats):
            x = net.stored("Relu", net.conv(x, channels, kernel, stride, groups))
        return x

    return layers


def _linears(*widths: int) -> Layers:
    def layers(net: MicroNet) -> str:
        x = net.input
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            x = net.linear(x, inputs, outputs)
        return x

    return layers


def _repeated(repeats: int, op: str, **attributes: object) -> Layers:
    def layers(net: MicroNet) -> str:
        x = net.input
        for _ in range(repeats):
            x = net.node(op, x, **attributes)
        return x

    return layers


def _conv_micro(name: str, side: int, channels: int, layers: Layers) -> Micro:
    return Micro(f"{name} {channels}x{side}", (1, channels, side, side), layers, integers=True)


CONVOLUTIONS = (
    _conv_micro("stem", 224, 3, _convs(1, 32, 3, 2)),
    _conv_micro("stem 7x7", 224, 3, _convs(1, 64, 7, 2)),
    _conv_micro("pointwise", 56, 64, _convs(3, 64)),
    _conv_micro("pointwise", 28, 32, _convs(6, 32)),
    _conv_micro("pointwise", 14, 256, _convs(4, 256)),
    _conv_micro("pointwise", 7, 512, _convs(4, 512)),
    _conv_micro("pointwise", 7, 16, _convs(30, 16)),
    _conv_micro("3x3", 56, 64, _convs(2, 64, 3)),
    _conv_micro("3x3", 28, 128, _convs(2, 128, 3)),
    _conv_micro("3x3", 14, 256, _convs(1, 256, 3)),
    _conv_micro("3x3", 7, 512, _convs(1, 512, 3)),
    _conv_micro("3x3 strided", 56, 64, _convs(1, 128, 3, 2)),
    _conv_micro("3x3 strided", 28, 128, _convs(1, 256, 3, 2)),
    _conv_micro("1x1 strided", 28, 256, _convs(1, 512, 1, 2)),
    _conv_micro("5x5", 28, 32, _convs(3, 32, 5)),
    _conv_micro("grouped by 16", 14, 256, _convs(4, 256, 3, groups=16)),
    _conv_micro("grouped by 32", 28, 128, _convs(3, 128, 3, groups=4)),
    _conv_micro("grouped by 4", 28, 128, _convs(2, 128, 3, groups=32)),
    _conv_micro("grouped by 24", 28, 144, _convs(2, 144, 3, groups=6)),
    _conv_micro("depthwise", 56, 96, _convs(3, 96, 3, groups=96)),
    _conv_micro("depthwise", 14, 384, _convs(6, 384, 3, groups=384)),
    _conv_micro("depthwise", 7, 960, _convs(6, 960, 3, groups=960)),
    _conv_micro("depthwise strided", 112, 96, _convs(2, 96, 3, 2, groups=96)),
    _conv_micro("depthwise 5x5", 14, 240, _convs(6, 240, 5, groups=240)),
    _conv_micro("depthwise 7x7", 28, 96, _convs(4, 96, 7, groups=96)),
    _conv_micro("uneven depthwise", 28, 122, _convs(2, 122, 3, groups=122)),
    _conv_micro("squeezed", 1, 512, lambda net: net.conv(net.conv(net.input, 128), 512)),
)

PRODUCTS = (
    Micro("linear 196x384", (1, 196, 384), _linears(384, 1152, 384), integers=True),
    Micro("linear 49x768", (1, 49, 768), _linears(768, 1536, 768), integers=True),
    Micro("linear 3136x96", (1, 3136, 96), _linears(96, 96, 96), integers=True),
    Micro("linear 1x1024", (1, 1024), _linears(1024, 1000), integers=True),
    Micro("linear 1x2048", (1, 2048), _linears(2048, 4096), integers=True),
    Micro("attention 6x196x64", (1, 6, 196, 64), lambda net: _attention(net, net.input)),
    Micro("attention 12x49x32", (4, 12, 49, 32), lambda net: _attention(net, net.input)),
)


def _attention(net: MicroNet, x: str) -> str:
    """Add softmax(x·xᵀ)·x over the last two axes."""
    scores = net.node("Softmax", net.node("MatMul", x, net.node("Transpose", x, perm=[0, 1, 3, 2])), axis=-1)
    return net.node("MatMul", scores, x)


def _normalized(net: MicroNet) -> str:
    x, width = net.input, net.width
    for _ in range(4):
        x = net.node("LayerNormalization", x, net.random(width), net.random(width), axis=-1)
    return x


def _added(net: MicroNet) -> str:
    x = net.input
    for _ in range(3):
        x = net.stored("Add", x, net.input)
    return x


def _scaled(net: MicroNet) -> str:
    x, scale = net.input, net.node("GlobalAveragePool", net.input)
    for _ in range(3):
        x = net.node("Mul", x, scale)
    return x


def _silu(net: MicroNet) -> str:
    x = net.input
    for _ in range(3):
        x = net.node("Mul", x, net.node("Sigmoid", x))
    return x


def _gelu(net: MicroNet) -> str:
    """Add x · (1 + erf(x/√2)) / 2, written as exporters do."""
    x = net.input
    for _ in range(3):
        erf = net.node("Erf", net.node("Div", x, net.scalar(2**0.5)))
        both = net.node("Mul", x, net.node("Add", erf, net.scalar(1)))
        x = net.node("Mul", both, net.scalar(0.5))
    return x


def _moved(net: MicroNet) -> str:
    joined = net.node("Concat", net.node("Relu", net.input), net.input, axis=1)
    return net.node("Transpose", joined, perm=[0, 2, 3, 1])


def _map(name: str, channels: int, side: int, layers: Layers) -> Micro:
    return Micro(f"{name} {channels}x{side}", (1, channels, side, side), layers)


OTHERS = (
    Micro("layer normalization 196x384", (1, 196, 384), _normalized),
    Micro("layer normalization 3136x96", (1, 3136, 96), _normalized),
    Micro("softmax 6x196x196", (1, 6, 196, 196), _repeated(3, "Softmax", axis=-1)),
    _map("max pooling", 64, 112, _repeated(1, "MaxPool", kernel_shape=[3, 3], strides=[2, 2])),
    _map("average pooling", 192, 28, _repeated(2, "AveragePool", kernel_shape=[3, 3])),
    Micro("addition 96x56", (1, 96, 56, 56), _added, integers=True),
    _map("scaling", 96, 56, _scaled),
    _map("reduction", 256, 28, _repeated(1, "ReduceMean", axes=[2, 3])),
    _map("silu", 96, 56, _silu),
    _map("silu", 240, 14, _silu),
    Micro("gelu 196x1536", (1, 196, 1536), _gelu),
    _map("copies", 96, 56, _moved),
    _map("copies", 384, 14, _moved),
)

MICROS: Sequence[Micro] = (*CONVOLUTIONS, *PRODUCTS, *OTHERS)


def _residual(net: MicroNet) -> str:
    """Stack plain residual blocks (He et al. 2016)."""
    x = net.stored("MaxPool", net.conv(net.input, 64, 7, 2), kernel_shape=[2, 2], strides=[2, 2])
    for width, stride in ((64, 1), (128, 2), (256, 2)):
        short = x if stride == 1 else net.conv(x, width, 1, stride)
        y = net.conv(net.stored("Relu", net.conv(x, width, 3, stride)), width, 3)
        x = net.stored("Relu", net.stored("Add", y, short))
    return net.linear(net.stored("ReduceMean", x, axes=[2, 3], keepdims=0), 256, 1000)


def _inverted(net: MicroNet) -> str:
    """Stack inverted residual blocks (Sandler et al. 2018)."""
    x = net.stored("Relu", net.conv(net.input, 32, 3, 2))
    for width, stride, kernel in ((24, 2, 3), (24, 1, 3), (40, 2, 5), (40, 1, 5), (80, 2, 3), (80, 1, 3)):
        inputs = net.channels(x)
        y = net.stored("Relu", net.conv(x, inputs * 6))
        y = net.stored("Relu", net.conv(y, inputs * 6, kernel, stride, groups=inputs * 6))
        y = net.conv(y, width)
        x = net.stored("Add", x, y) if stride == 1 else y
    x = net.stored("Relu", net.conv(x, 480))
    return net.linear(net.stored("ReduceMean", x, axes=[2, 3], keepdims=0), 480, 1000)


def _transformer(net: MicroNet) -> str:
    """Stack two blocks of attention and feed-forward layers (Vaswani et al. 2017)."""
    x, width = net.input, net.width
    for _ in range(2):
        y = net.node("LayerNormalization", x, net.random(width), net.random(width), axis=-1)
        heads = net.node("Reshape", net.linear(y, width, width), net.sizes(1, -1, 3, 64))
        mixed = _attention(net, net.node("Transpose", heads, perm=[0, 2, 1, 3]))
        joined = net.node("Reshape", net.node("Transpose", mixed, perm=[0, 2, 1, 3]), net.sizes(1, -1, width))
        x = net.node("Add", x, net.linear(joined, width, width))
        y = net.node("LayerNormalization", x, net.random(width), net.random(width), axis=-1)
        y = net.linear(net.node("Relu", net.linear(y, width, 4 * width)), 4 * width, width)
        x = net.node("Add", x, y)
    return x


def _separable(net: MicroNet) -> str:
    """Stack depthwise separable convolutions (Howard et al. 2017)."""
    x = net.stored("Relu", net.conv(net.input, 32, 3, 2))
    for width, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        inputs = net.channels(x)
        x = net.stored("Relu", net.conv(x, inputs, 3, stride, groups=inputs))
        x = net.stored("Relu", net.conv(x, width))
    return net.linear(net.stored("ReduceMean", x, axes=[2, 3], keepdims=0), 512, 1000)


CHECKS: Sequence[Micro] = (
    Micro("residual blocks", (1, 3, 224, 224), _residual, integers=True),
    Micro("inverted residual blocks", (1, 3, 224, 224), _inverted, integers=True),
    Micro("separable convolutions", (1, 3, 160, 160), _separable, integers=True),
    Micro("transformer blocks", (1, 197, 192), _transformer, integers=True),
)
