from __future__ import annotations

import pytest

from onnx_pare.hw_profiles.files import device_file
from onnx_pare.hw_profiles.profiles import Profile, of_device
from onnx_pare.hw_profiles.schema import Device
from tests.hw_profiles.board import BOARD, know_board_costs


@pytest.fixture(autouse=True)
def _costs(monkeypatch: pytest.MonkeyPatch) -> None:
    know_board_costs(monkeypatch)


@pytest.fixture
def device() -> Device:
    found = device_file(BOARD)
    assert found is not None
    return found


@pytest.fixture
def fitted(device: Device) -> Profile:
    return of_device("board", device, "fitted")


@pytest.fixture
def from_facts(device: Device) -> Profile:
    return of_device("board@facts", device, "facts")
