from __future__ import annotations

import pytest

from onnx_pare.hw_profiles.dtypes import as_dtype, computing
from tests.hw_profiles.board import made


@pytest.mark.parametrize(
    ("dtype", "found"),
    [("float16", "float16"), ("uint8", "int8"), ("int64", "float32"), ("bool", "float32"), ("", "float32")],
)
def test_what_a_kernel_computes_in(dtype: str, found: str) -> None:
    assert computing(made(dtype=dtype)) == found


def test_bytes_follow_the_type_and_work_does_not() -> None:
    kernel = made(dtype="float32", read_bytes=400, written_bytes=40, weight_bytes=4)
    small = as_dtype(kernel, "int8")
    assert (small.read_bytes, small.written_bytes, small.weight_bytes, small.macs) == (
        100,
        10,
        1,
        kernel.macs,
    )
    assert as_dtype(small, "float32") == kernel
