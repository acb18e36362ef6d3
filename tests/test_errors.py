from __future__ import annotations

import pytest

from onnx_pare import errors


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (errors.UsageError, 2),
        (errors.RecipeError, 2),
        (errors.ModelError, 2),
        (errors.DataError, 2),
        (errors.OutputError, 2),
    ],
)
def test_bad_input_exits_2(kind: type[errors.InputError], exit_code: int) -> None:
    assert kind("x").exit_code == exit_code
    assert issubclass(kind, errors.PareError)


@pytest.mark.parametrize("kind", [errors.PassError, errors.VerificationError])
def test_a_failed_pass_exits_3_and_names_the_passes_before_it(kind: type[errors.PassError]) -> None:
    error = kind("quantize_int8", "no range", before=["simplify", "prune_magnitude"])
    assert error.exit_code == 3
    assert error.message == "pass quantize_int8 (after simplify, prune_magnitude): no range"
    assert error.before == ("simplify", "prune_magnitude")


def test_the_first_pass_has_none_before_it() -> None:
    assert errors.PassError("simplify", "no").message == "pass simplify: no"


def test_the_hint_is_a_line_of_its_own() -> None:
    assert str(errors.UsageError("no model given", hint="Give one.")) == "no model given\nGive one."
    assert str(errors.UsageError("no model given")) == "no model given"
