from __future__ import annotations

from typing import Literal

from pydantic import Field

from onnx_pare.passes.base import PassOptions
from onnx_pare.pipeline.options import Option, options_of


class Options(PassOptions):
    ratio: float = Field(ge=0, lt=1, description="How much.")
    count: int | None = Field(None, gt=0)
    pattern: Literal["n:m", "block"] = "block"
    skip: list[str] = Field(default_factory=list)
    shape: tuple[int, float] = (1, 0.5)
    levels: Literal["log"] | int = 4
    on: bool = False


def test_every_option_in_words() -> None:
    assert options_of(Options) == [
        Option("ratio", "number", True, None, "from 0, below 1", "How much."),
        Option("count", "whole number or nothing", False, None, "above 0", ""),
        Option("pattern", "n:m | block", False, "block", "", ""),
        Option("skip", "list of text", False, [], "", ""),
        Option("shape", "[whole number, number]", False, [1, 0.5], "", ""),
        Option("levels", "log or whole number", False, 4, "", ""),
        Option("on", "true or false", False, False, "", ""),
    ]


def test_no_options() -> None:
    assert options_of(PassOptions) == []
