"""The formulas that are one function to a runtime: as exporters write them, see `patterns`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnx_pare.cost.patterns import CONSTANT, Formula


def _halved(gate: Formula) -> tuple[Formula, ...]:
    """x/2 · gate, in the orders it is written in."""
    return (
        ("Mul|Div", ("Mul", "x", gate), CONSTANT),
        ("Mul", ("Mul|Div", "x", CONSTANT), gate),
        ("Mul", "x", ("Mul|Div", gate, CONSTANT)),
    )


def _scaled(plain: Formula) -> tuple[Formula, ...]:
    """Return a normalization with its scale and offset, and without."""
    scaled: Formula = ("Mul", plain, CONSTANT)
    return (("Add", scaled, CONSTANT), scaled, plain)


def _normalized(x: str | Formula, square: Formula) -> Iterator[Formula]:
    """x / √(mean of squares + ε)."""
    root: Formula = ("Sqrt", ("Add", ("ReduceMean", square), CONSTANT))
    for plain in (("Div", x, root), ("Mul", x, ("Reciprocal", root)), ("Mul", x, ("Div", CONSTANT, root))):
        yield from _scaled(plain)


_RELU6: Formula = ("Clip", ("Add", "x", CONSTANT))
_CUBES: tuple[Formula, ...] = (
    ("Mul", ("Pow", "x", CONSTANT), CONSTANT),
    ("Mul", ("Mul", "x", ("Mul", "x", "x")), CONSTANT),
)
_CENTRED: Formula = ("Sub", "x", ("ReduceMean", "x"))

# name -> its spellings; where one contains another, the longer comes first
FORMULAS: Sequence[tuple[str, Sequence[Formula]]] = [
    ("layernorm", [*_normalized(_CENTRED, ("Pow", _CENTRED, CONSTANT))]),
    ("layernorm", [*_normalized(_CENTRED, ("Mul", _CENTRED, _CENTRED))]),
    ("rmsnorm", [*_normalized("x", ("Pow", "x", CONSTANT)), *_normalized("x", ("Mul", "x", "x"))]),
    ("groupnorm", _scaled(("Reshape", ("InstanceNormalization", ("Reshape", "x"))))),
    ("l2norm", [("Div", "x", ("Expand", ("Clip", ("ReduceL2", "x"))))]),
    ("l2norm", [("Div", "x", ("Clip|Max", ("ReduceL2", "x")))]),
    ("gelu", _halved(("Add", ("Erf", ("Mul|Div", "x", CONSTANT)), CONSTANT))),
    *(
        ("gelu", _halved(("Add", ("Tanh", ("Mul", ("Add", "x", cube), CONSTANT)), CONSTANT)))
        for cube in _CUBES
    ),
    ("silu", [("Mul", "x", ("Sigmoid", "x")), ("Mul", "x", ("Sigmoid", ("Mul", "x", CONSTANT)))]),
    ("mish", [("Mul", "x", ("Tanh", ("Softplus", "x")))]),
    ("mish", [("Mul", "x", ("Tanh", ("Log", ("Add", ("Exp", "x"), CONSTANT))))]),
    ("hardswish", [("Mul", "x", ("HardSigmoid", "x")), ("Mul", "x", ("Mul|Div", _RELU6, CONSTANT))]),
    ("hardswish", [("Mul|Div", ("Mul", "x", _RELU6), CONSTANT)]),
    ("hardsigmoid", [("Mul|Div", _RELU6, CONSTANT)]),
]

# compound -> class of operators
CLASS_OF_COMPOUND = {
    "attention": "attention",
    "gelu": "function",
    "groupnorm": "normalization",
    "hardsigmoid": "function",
    "hardswish": "function",
    "l2norm": "normalization",
    "layernorm": "normalization",
    "mish": "function",
    "rmsnorm": "normalization",
    "silu": "function",
    "split": "copy",
}
