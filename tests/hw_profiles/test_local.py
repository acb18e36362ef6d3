from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.hw_profiles.local import local_profile_path


def test_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert local_profile_path() == tmp_path / "onnx-pare" / "local.yaml"


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_without_one_it_is_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", value)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert local_profile_path() == tmp_path / ".local" / "share" / "onnx-pare" / "local.yaml"
