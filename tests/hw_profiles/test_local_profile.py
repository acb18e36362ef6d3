"""The file of this machine is a profile like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from onnx_pare.hw_profiles.calibrate import Calibrated
from onnx_pare.hw_profiles.local_profile import device, yaml_text
from onnx_pare.hw_profiles.predictor import Rates
from onnx_pare.hw_profiles.profiles import find

FOUND = Calibrated("float32", 1, Rates(12.3456e9, 4e9, 5e-6, {"conv": 1.05}), {"a": 0.1, "b": -0.3}, 7, 0.12)


def test_it_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "local.yaml"
    path.write_text(yaml_text(device([FOUND])), encoding="utf-8")
    profile = find(str(path))
    (fit,) = profile.on.fits
    assert (fit.dtype, fit.threads, fit.gmacs_per_s, fit.measured_models) == ("float32", 1, 12.3, 7)
    assert (fit.gb_per_s, fit.overhead_us, fit.factors) == (4, 5, {"conv": 1.05})
    assert fit.validation is not None
    assert fit.validation.error_percent == pytest.approx(20)
    assert fit.validation.within_20_percent == 50


def test_no_profile_is_not_written() -> None:
    with pytest.raises(ValidationError):
        yaml_text(device([FOUND, FOUND]))
