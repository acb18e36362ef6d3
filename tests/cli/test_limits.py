from __future__ import annotations

import os

import pytest

from onnx_pare.cli import limits
from onnx_pare.errors import UsageError
from onnx_pare.zoo.task import Limits


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("4GB", 4 * 10**9),
        ("4G", 4 * 10**9),
        ("512MiB", 2**29),
        ("1.5k", 1500),
        ("17", 17),
        ("2ti", 2**41),
        ("0", 0),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert limits.size_bytes(text, "--memory-limit") == size_bytes


@pytest.mark.parametrize("text", ["", "much", "4 G X", "-1", "4X", "nan", "inf"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        limits.size_bytes(text, "--memory-limit")


def test_limits_that_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}.__getitem__)
    assert limits.limits(None, None, 4) == Limits(3600.0, int(4096 * 1000 * 0.9 / 4))
    assert limits.limits(0.0, "0", 4) == Limits(None, None)
    assert limits.limits(5.0, "1k", 4) == Limits(5.0, 1000)
