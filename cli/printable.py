"""Text that others wrote, such as the names in a model, made safe to show."""

from __future__ import annotations

from collections.abc import Mapping

# control characters but for line feed and tab -> their pictures (Unicode's block "Control Pictures"), or the
# replacement character for those beyond ASCII, which have none
_PICTURES: Mapping[int, int] = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}


def printable(text: str) -> str:
    """Return text that makes no terminal do anything: control characters are shown, not sent."""
    return text.translate(_PICTURES)
