"""Every operator has a class, and layers that of their shape."""

from __future__ import annotations

from collections.abc import Callable

import onnx.defs
import pytest

from onnx_pare.cost.class_table import CLASS_OF
from onnx_pare.cost.formulas import CLASS_OF_COMPOUND
from onnx_pare.cost.kernels import Kernel
from onnx_pare.cost.macs import MACS
from onnx_pare.cost.op_classes import OP_CLASSES, uneven
from onnx_pare.cost.uncountable import UNCOUNTABLE
from onnx_pare.cost.zero_macs import ZERO_MACS

Kernels = Callable[..., list[Kernel]]


def test_classes_exist() -> None:
    assert {*CLASS_OF.values(), *CLASS_OF_COMPOUND.values()} <= set(OP_CLASSES)


def test_every_operator_of_onnx_has_a_class() -> None:
    schemas = onnx.defs.get_all_schemas_with_history()
    known = {f"{schema.domain}:{schema.name}" if schema.domain else schema.name for schema in schemas}
    training = {op for op in known if "training" in op}
    assert known - set(CLASS_OF) - set(MACS) == training


def test_every_operator_that_is_counted_has_a_class() -> None:
    uncounted = {op for op in UNCOUNTABLE if op.startswith("com.microsoft:") and op not in CLASS_OF}
    assert ZERO_MACS - set(CLASS_OF) == set()
    assert {op for op in uncounted if "Attention" in op} == set()


LAYERS = {
    "y = Conv(x, w)": ((6, 8, 1, 1), "pointwise"),
    "y = Conv <pads = [1,1,1,1]> (x, w)": ((6, 8, 3, 3), "conv3x3"),
    "y = Conv <strides = [2,2]> (x, w)": ((6, 8, 3, 3), "conv_strided"),
    "y = Conv <dilations = [2,2]> (x, w)": ((6, 8, 3, 3), "conv"),
    "y = Conv <group = 2> (x, w)": ((6, 4, 3, 3), "grouped"),
    "y = Conv <group = 8> (x, w)": ((8, 1, 3, 3), "depthwise"),
    "y = Conv <group = 8, pads = [2,2,2,2]> (x, w)": ((8, 1, 5, 5), "depthwise_large"),
    "p = GlobalAveragePool(x) y = Conv(p, w)": ((6, 8, 1, 1), "fully_connected"),
    "y = ConvTranspose(x, w)": ((8, 6, 3, 3), "conv"),
    "y = MatMul(x, w)": ((6, 5), "linear"),
    "p = GlobalAveragePool(x) f = Flatten(p) y = Gemm(f, w)": ((8, 5), "fully_connected"),
    "a = Relu(w) t = Transpose <perm = [0,1,3,2]> (x) y = MatMul(x, t)": ((1,), "matmul"),
}


@pytest.mark.parametrize("body", LAYERS)
def test_layers(body: str, kernels_of: Kernels) -> None:
    shape, kind = LAYERS[body]
    dims = ",".join(map(str, shape))
    text = f"g (float[1,8,6,6] x, float[{dims}] w) => (float[N,M,K,L] y) {{ {body} }}"
    assert kernels_of(text, "none", {"w": shape})[-1].op_class == kind


def test_what_nobody_knows_is_other(kernels_of: Kernels) -> None:
    (seen,) = kernels_of("g (float[4,4] x) => (float[4,4] y) { y = com.microsoft.Inverse(x) }")
    assert (seen.op_class, seen.macs) == ("other", None)


@pytest.mark.parametrize(
    ("kind", "inner", "outer", "groups", "expected"),
    [
        ("grouped", 16, 32, 4, "grouped"),
        ("grouped", 24, 24, 4, "grouped_uneven"),
        ("grouped", 16, 8, 4, "grouped_uneven"),
        ("depthwise", 1, 1, 32, "depthwise"),
        ("depthwise", 1, 1, 122, "depthwise_uneven"),
        ("depthwise_large", 1, 2, 32, "depthwise_uneven"),
        ("pointwise", 7, 7, 1, "pointwise"),
    ],
)
def test_convolutions_that_do_not_fill_blocks(
    kind: str, inner: int, outer: int, groups: int, expected: str
) -> None:
    assert uneven(kind, inner=inner, outer=outer, groups=groups, block=16) == expected
    assert uneven(kind, inner=inner, outer=outer, groups=groups, block=0) == kind
