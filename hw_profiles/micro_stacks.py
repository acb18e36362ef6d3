"""Stacks of layers of one class each, at shapes of well-known networks: what the class costs stands out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from onnx_pare.hw_profiles.micro_networks import attention, gelu, normalized, silu
from onnx_pare.hw_profiles.micronet import Layers, Micro, MicroNet


def _convs(repeats: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Layers:
    def layers(net: MicroNet) -> str:
        x = net.input
        for _ in range(repeats):
            x = net.node("Relu", net.conv(x, channels, kernel, stride, groups))
        return x

    return layers


def _linears(*widths: int) -> Layers:
    def layers(net: MicroNet) -> str:
        x = net.input
        for inputs, outputs in pairwise(widths):
            x = net.linear(x, inputs, outputs)
        return x

    return layers


def _repeated(repeats: int, op: str, **attributes: Any) -> Layers:
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
)

PRODUCTS = (
    Micro("linear 196x384", (1, 196, 384), _linears(384, 1152, 384), integers=True),
    Micro("linear 49x768", (1, 49, 768), _linears(768, 1536, 768), integers=True),
    Micro("linear 3136x96", (1, 3136, 96), _linears(96, 96, 96), integers=True),
    Micro("linear 1x2048", (1, 2048), _linears(2048, 4096), integers=True),
    Micro("attention 6x196x64", (1, 6, 196, 64), lambda net: attention(net, net.input)),
    Micro("attention 12x49x32", (4, 12, 49, 32), lambda net: attention(net, net.input)),
)


def _normalized(net: MicroNet) -> str:
    x = net.input
    for _ in range(4):
        x = normalized(net, x, net.width)
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
    _map("silu", 96, 56, lambda net: silu(net, silu(net, net.input))),
    Micro("gelu 196x1536", (1, 196, 1536), lambda net: gelu(net, gelu(net, net.input))),
    _map("copies", 96, 56, _moved),
)

STACKS: Sequence[Micro] = (*CONVOLUTIONS, *PRODUCTS, *OTHERS)
