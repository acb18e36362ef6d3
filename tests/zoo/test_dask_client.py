from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from onnx_pare.errors import ClusterError, UsageError
from onnx_pare.zoo import dask_client
from onnx_pare.zoo.dask_client import open_client


@pytest.mark.parametrize("address", ["local:", "local:0", "local:x", "local:-1", "local:9999", "host:1", ""])
def test_what_is_no_address(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no number of processes" if "local" in address else "no address"):
        open_client(address, tmp_path).__enter__()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nope://127.0.0.1:9"])
def test_no_scheduler_answers(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_client, "PATIENCE_S", 0.2)
    with pytest.raises(ClusterError, match=f"--cluster {address}: no scheduler answers"):
        open_client(address, tmp_path).__enter__()


def test_dask_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_client, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs the package distributed\n.*onnx-pare\[cluster\]"):
        open_client("local:2", tmp_path).__enter__()
    assert importlib.util.find_spec("distributed")
