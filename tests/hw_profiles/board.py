"""An invented board and its costs, with numbers that can be reckoned by hand; kernels to run on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onnx_pare.cost.kernels import Kernel
from onnx_pare.documents.document import PROFILE
from onnx_pare.documents.section import validate
from onnx_pare.documents.yaml12 import read_file
from onnx_pare.hw_profiles import files
from onnx_pare.hw_profiles.schema import Costs

DATA = Path(__file__).parent / "data"
BOARD = DATA / "board.yaml"


def made(op_class: str = "linear", **changes: Any) -> Kernel:
    """Return a kernel of 10⁹ MACs and no traffic, unless told otherwise."""
    facts: dict[str, Any] = {"name": "n", "op": "MatMul", "nodes": 1, "macs": 10**9, "inner": 1}
    facts |= {"read_bytes": 0, "written_bytes": 0, "weight_bytes": 0, "elements": 0}
    return Kernel(op_class=op_class, **(facts | changes))


def board_costs(**changes: Any) -> Costs:
    """Return the costs of the board's runtimes, with top-level keys replaced."""
    document = read_file(str(DATA / "costs.yaml"), PROFILE)
    assert document is not None
    return validate(Costs, document.data | changes)


def know_board_costs(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let the costs `costs` be known beside those that ship."""
    shipped = files.costs
    monkeypatch.setattr(
        files, "costs", lambda name: board_costs(**changes) if name == "costs" else shipped(name)
    )
