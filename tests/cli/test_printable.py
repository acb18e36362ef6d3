from __future__ import annotations

import pytest

from onnx_pare.cli.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("模型 ≈ 3.75×\nnext", "模型 ≈ 3.75×\nnext"),
        ("\x1b[2J\x1b]0;mine\x07", r"\x1b[2J\x1b]0;mine\x07"),
        ("a\rb\tc\x7f\x9b31m", r"a\rb\tc\x7f\x9b31m"),
        ("abc\u202etxt", r"abc\u202etxt"),
    ],
)
def test_what_would_make_a_terminal_do_something_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
