"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the optional folder of real models and data; tests that need it skip without it."""
    folder = Path(os.environ.get("PARE_SHARED", ROOT.parent / "shared"))
    if not (folder / "models" / "manifest.json").is_file():
        pytest.skip(f"no real models at {folder} (set PARE_SHARED)")
    return folder
