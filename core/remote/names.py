"""What local stand-ins are called: in messages and reports stands the URL, not the scratch file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnx_pare.errors import PareError
from onnx_pare.remote import urls


class Names:
    """The URLs behind local paths, and texts with these put back; without what may be secret in them."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}

    def add(self, path: Path, url: str) -> None:
        """Call a local path by a URL from now on."""
        self._urls[str(path)] = urls.shown(url)

    def text(self, text: str) -> str:
        """Return text with URLs in place of local stand-ins, and no secrets."""
        for path in sorted(self._urls, key=len, reverse=True):
            text = text.replace(path, self._urls[path])
        return urls.shown(text)

    def json(self, value: Any) -> Any:
        """Return JSON values with every text in them put right, keys aside."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.json(entry) for key, entry in value.items()}
        return [self.json(entry) for entry in value] if isinstance(value, list | tuple) else value

    @contextmanager
    def in_errors(self) -> Iterator[None]:
        """Put right what errors say on their way to the user."""
        try:
            yield
        except PareError as error:
            error.message, error.hint = self.text(error.message), self.text(error.hint)
            raise
