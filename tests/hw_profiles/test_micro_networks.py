"""Networks check, run, and compute in what they should."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.hw_profiles.micro_networks import NETWORKS
from onnx_pare.hw_profiles.micro_stacks import STACKS
from onnx_pare.hw_profiles.micronet import Micro
from tests.hw_profiles.optimized import optimized


@pytest.mark.parametrize("micro", NETWORKS, ids=lambda micro: micro.name)
def test_networks_run_in_floats(tmp_path: Path, micro: Micro) -> None:
    assert "QuantizeLinear" not in optimized(tmp_path, micro, integers=False)


@pytest.mark.parametrize("micro", NETWORKS, ids=lambda micro: micro.name)
def test_networks_run_in_integers(tmp_path: Path, micro: Micro) -> None:
    ops = optimized(tmp_path, micro, integers=True)
    assert {"QLinearConv", "MatMulIntegerToFloat", "QLinearMatMul", "QGemm"} & set(ops)
    assert "Conv" not in ops or micro.name == "modernized blocks"


def test_names_are_unique() -> None:
    names = [one.name for one in (*NETWORKS, *STACKS)]
    assert len(names) == len(set(names))
