"""Small networks with the blocks of well-known ones: what they cost in all is what predictions are about."""

from __future__ import annotations

from collections.abc import Sequence

from onnx_pare.hw_profiles.micronet import Layers, Micro, MicroNet

# output channels, stride and kernel of a block
Block = tuple[int, int, int]
INVERTED: Sequence[Block] = (
    (24, 2, 3),
    (24, 1, 3),
    (40, 2, 5),
    (40, 1, 5),
    (80, 2, 3),
    (80, 1, 3),
    (112, 1, 5),
)


def attention(net: MicroNet, x: str) -> str:
    """Add softmax(x·xᵀ)·x over the last two axes."""
    scores = net.node("Softmax", net.node("MatMul", x, net.node("Transpose", x, perm=[0, 1, 3, 2])), axis=-1)
    return net.node("MatMul", scores, x)


def gelu(net: MicroNet, x: str) -> str:
    """Add x · (1 + erf(x/√2)) / 2, written as exporters do."""
    erf = net.node("Erf", net.node("Div", x, net.scalar(2**0.5)))
    return net.node("Mul", net.node("Mul", x, net.node("Add", erf, net.scalar(1))), net.scalar(0.5))


def silu(net: MicroNet, x: str) -> str:
    """Add x · σ(x), written as exporters do."""
    return net.stored("Mul", x, net.stored("Sigmoid", x))


def normalized(net: MicroNet, x: str, width: int) -> str:
    """Add a LayerNormalization over the last axis."""
    return net.node("LayerNormalization", x, net.random(width), net.random(width), axis=-1)


def _relu(net: MicroNet, x: str) -> str:
    return net.node("Relu", x)


def _hard_swish(net: MicroNet, x: str) -> str:
    return net.stored("HardSwish", x)


def _classes(net: MicroNet, x: str, outputs: int = 1000) -> str:
    """Add what most networks end with: the mean over the map and a matrix product."""
    return net.linear(net.stored("ReduceMean", x, axes=[2, 3], keepdims=0), net.channels(x), outputs)


def _squeezed(net: MicroNet, x: str) -> str:
    """Add squeeze-and-excitation (Hu et al. 2018)."""
    width = net.channels(x)
    y = _relu(net, net.conv(net.stored("ReduceMean", x, axes=[2, 3], keepdims=1), max(8, width // 4)))
    return net.stored("Mul", x, net.stored("Sigmoid", net.conv(y, width)))


def _pooled(net: MicroNet, x: str) -> str:
    return net.stored("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def _residual(net: MicroNet) -> str:
    """Plain residual blocks (He et al. 2016)."""
    x = _pooled(net, _relu(net, net.conv(net.input, 64, 7, 2)))
    for width, stride in ((64, 1), (128, 2), (256, 2)):
        short = x if stride == 1 else net.conv(x, width, 1, stride)
        y = net.conv(_relu(net, net.conv(x, width, 3, stride)), width, 3)
        x = _relu(net, net.stored("Add", y, short))
    return _classes(net, x)


def _grouped(net: MicroNet, per_group: int) -> str:
    """Bottlenecks with grouped convolutions (Xie et al. 2017, Radosavovic et al. 2020)."""
    x = _relu(net, net.conv(net.input, 32, 3, 2))
    for width, stride in ((96, 2), (96, 1), (192, 2), (192, 1), (384, 2)):
        short = x if (stride, width) == (1, net.channels(x)) else net.conv(x, width, 1, stride)
        y = _relu(net, net.conv(_relu(net, net.conv(x, width)), width, 3, stride, width // per_group))
        x = _relu(net, net.stored("Add", net.conv(y, width), short))
    return _classes(net, x)


def _inverted(net: MicroNet, act: str) -> str:
    """Inverted residual blocks (Sandler et al. 2018), with squeeze-and-excitation unless by ReLU."""
    acted = {"relu": _relu, "hardswish": _hard_swish, "silu": silu}[act]
    x = acted(net, net.conv(net.input, 32, 3, 2))
    for width, stride, kernel in INVERTED:
        wide = net.channels(x) * 6
        y = acted(net, net.conv(x, wide))
        y = acted(net, net.conv(y, wide, kernel, stride, wide))
        y = net.conv(y if act == "relu" else _squeezed(net, y), width)
        x = net.stored("Add", x, y) if (stride, width) == (1, net.channels(x)) else y
    return _classes(net, acted(net, net.conv(x, 672)))


def _separable(net: MicroNet) -> str:
    """Depthwise separable convolutions (Howard et al. 2017)."""
    x = _relu(net, net.conv(net.input, 32, 3, 2))
    for width, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1)):
        inputs = net.channels(x)
        x = _relu(net, net.conv(_relu(net, net.conv(x, inputs, 3, stride, inputs)), width))
    return _classes(net, x)


def _shuffled(net: MicroNet) -> str:
    """Halves that are convolved and shuffled (Ma et al. 2018)."""
    x = _pooled(net, _relu(net, net.conv(net.input, 24, 3, 2)))
    for width, side in ((116, 28), (232, 14)):
        x = _relu(net, net.conv(x, width, 3, 2))
        for _ in range(3):
            half = width // 2
            left, right = (
                net.node("Slice", x, net.sizes(start), net.sizes(start + half), net.sizes(1), channels=half)
                for start in (0, half)
            )
            y = _relu(net, net.conv(right, half))
            y = _relu(net, net.conv(net.conv(y, half, 3, 1, half), half))
            x = net.stored("Concat", left, y, axis=1, channels=width)
            x = net.node("Reshape", x, net.sizes(1, 2, half, side, side))
            x = net.node("Transpose", x, perm=[0, 2, 1, 3, 4])
            x = net.node("Reshape", x, net.sizes(1, width, side, side), channels=width)
    return _classes(net, x)


def _dense(net: MicroNet) -> str:
    """Layers that read all before them (Huang et al. 2017)."""
    x = _pooled(net, _relu(net, net.conv(net.input, 64, 3, 2)))
    for _ in range(2):
        for _ in range(4):
            y = net.conv(_relu(net, net.conv(_relu(net, x), 128)), 32, 3)
            x = net.stored("Concat", x, y, axis=1, channels=net.channels(x) + 32)
        x = net.stored("AveragePool", net.conv(x, 96), kernel_shape=[2, 2], strides=[2, 2])
    return _classes(net, x)


def _plain(net: MicroNet) -> str:
    """Convolutions and pooling, then two large matrix products (Simonyan and Zisserman 2015)."""
    x = net.input
    for width in (32, 64, 128, 256):
        x = _pooled(net, _relu(net, net.conv(x, width, 3)))
    flat = net.stored("Flatten", x)
    return net.linear(_relu(net, net.linear(flat, 256 * 7 * 7, 512)), 512, 1000)


def _vision_transformer(net: MicroNet) -> str:
    """Attention and feed-forward layers (Vaswani et al. 2017, Dosovitskiy et al. 2021)."""
    x, width = net.input, net.width
    for _ in range(3):
        y = net.linear(normalized(net, x, width), width, width)
        heads = net.node("Reshape", y, net.sizes(1, -1, width // 64, 64))
        mixed = attention(net, net.node("Transpose", heads, perm=[0, 2, 1, 3]))
        joined = net.node("Reshape", net.node("Transpose", mixed, perm=[0, 2, 1, 3]), net.sizes(1, -1, width))
        x = net.stored("Add", x, net.linear(joined, width, width))
        y = gelu(net, net.linear(normalized(net, x, width), width, 4 * width))
        x = net.stored("Add", x, net.linear(y, 4 * width, width))
    return x


def _modernized(net: MicroNet) -> str:
    """Large depthwise convolutions and matrix products, channels last between (Liu et al. 2022)."""
    x = net.conv(net.input, 64, 7, 4)
    for width in (64, 128, 256):
        x = x if width == 64 else net.conv(x, width, 3, 2)
        for _ in range(2):
            y = net.node("Transpose", net.conv(x, width, 7, 1, width), perm=[0, 2, 3, 1])
            y = net.linear(normalized(net, y, width), width, 4 * width)
            y = net.node("Transpose", net.linear(gelu(net, y), 4 * width, width), perm=[0, 3, 1, 2])
            x = net.stored("Add", x, y, channels=width)
    return _classes(net, x)


def _image(name: str, side: int, layers: Layers) -> Micro:
    return Micro(name, (1, 3, side, side), layers, integers=True)


NETWORKS: Sequence[Micro] = (
    _image("residual blocks", 224, _residual),
    _image("blocks grouped by 16", 160, lambda net: _grouped(net, 16)),
    _image("blocks grouped by 4", 128, lambda net: _grouped(net, 4)),
    _image("inverted residual blocks", 224, lambda net: _inverted(net, "relu")),
    _image("inverted residual blocks, hard-swish", 160, lambda net: _inverted(net, "hardswish")),
    _image("inverted residual blocks, SiLU", 192, lambda net: _inverted(net, "silu")),
    _image("separable convolutions", 160, _separable),
    _image("shuffled halves", 224, _shuffled),
    _image("dense blocks", 160, _dense),
    _image("plain convolutions", 112, _plain),
    Micro("transformer blocks", (1, 197, 192), _vision_transformer, integers=True),
    _image("modernized blocks", 160, _modernized),
)
