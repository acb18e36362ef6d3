"""Passes that only exist in tests, so that recipes can be tested without the real ones."""

from __future__ import annotations

from typing import Literal

import onnx_ir as ir
import pytest
from pydantic import Field

from onnx_pare.passes import base


class Fake(base.Pass):
    """Leave the model as it is."""

    def apply(self, model: ir.Model, context: base.Context) -> base.Outcome:
        return base.Outcome(model, 0)


class Simplify(Fake):
    """Make it simple."""


class QuantizeOptions(base.PassOptions):
    mode: Literal["static", "dynamic"] = "static"
    percentile: float = Field(99.9, gt=50, le=100, description="Share of values inside the range, in %.")
    skip: tuple[str, ...] = ()
    bits: int = Field(8, ge=2, le=8)
    per_channel: bool = True
    limit: float | None = None


class QuantizeInt8(Fake):
    """Make it small."""

    Options = QuantizeOptions


class PruneOptions(base.PassOptions):
    sparsity: float = Field(ge=0, lt=1)


class Prune(Fake):
    """Make it sparse; takes an option that must be given."""

    Options = PruneOptions


FAKES = {"prune": Prune, "quantize_int8": QuantizeInt8, "simplify": Simplify}


@pytest.fixture
def fake_passes(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[base.Pass]]:
    for name, cls in FAKES.items():
        monkeypatch.setattr(cls, "name", name, raising=False)
    monkeypatch.setattr(base, "registry", lambda: FAKES)
    return FAKES
