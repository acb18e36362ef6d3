from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from onnx_pare.passes import base


def test_a_pass_is_named_like_its_file() -> None:
    folder = Path(base.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "base", "ranks"}
    assert set(base.registry()) == files
    assert all(cls.name == name for name, cls in base.registry().items())


def test_every_pass_says_what_it_does_and_each_option_too() -> None:
    for cls in base.registry().values():
        assert base.summary(cls).endswith((".", ":"))
        assert all(field.description for field in cls.Options.model_fields.values())


def test_options_are_strict_and_frozen() -> None:
    class Options(base.PassOptions):
        ratio: float = 0.5

    with pytest.raises(ValidationError):
        Options.model_validate({"ratoi": 0.1})
    with pytest.raises(ValidationError):
        Options.model_validate({"ratio": "0.1"})
    with pytest.raises(ValidationError):
        Options().ratio = 0.1


def test_the_same_seed_gives_the_same_numbers_each_time() -> None:
    nothing: Any = None
    context = base.Context(samples=nothing, scratch=Path(), seed=7)
    np.testing.assert_array_equal(context.rng().random(4), context.rng().random(4))
    other = base.Context(samples=nothing, scratch=Path(), seed=8)
    assert not np.array_equal(context.rng().random(4), other.rng().random(4))
