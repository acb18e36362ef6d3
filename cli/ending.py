"""How a command ends, whatever ends it: signals become exceptions, and temporary files go."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# what ends a run from outside; the exit code is 128 and the number, so 130 for Ctrl-C
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def clean() -> Iterator[None]:
    """Let the first of SIGNALS end what runs inside by way of SystemExit, and take its temporary files away.

    All temporary files of this process and its children lie in one new folder that only this user can read
    (mode 0700). Further signals are ignored while it is removed. Signals that the caller ignores stay
    ignored, as nohup and scripts that use & want it.
    """
    handlers = {number: signal.getsignal(number) for number in _signals()}
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    root = ""
    try:
        try:
            for number, handler in handlers.items():
                if handler != signal.SIG_IGN:
                    signal.signal(number, _ended)
            root = _private_folder()
            yield
        finally:
            _ignore_signals()
    finally:
        _restore(*before)
        if root:
            shutil.rmtree(root, ignore_errors=True)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _private_folder() -> str:
    """Make the folder and have Python and its children use it; an empty text where none can be made.

    Who needs a temporary file then says so: `--help` needs none.
    """
    try:
        root = tempfile.mkdtemp(prefix="onnx-pare-")
    except OSError:
        return ""
    tempfile.tempdir = os.environ["TMPDIR"] = root
    return root


def _restore(tempdir: str | None, variable: str | None) -> None:
    tempfile.tempdir = tempdir
    os.environ.pop("TMPDIR", None)
    if variable is not None:
        os.environ["TMPDIR"] = variable


def _signals() -> list[Any]:
    return [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]


def _ignore_signals() -> None:
    for number in _signals():
        if signal.getsignal(number) == _ended:
            signal.signal(number, signal.SIG_IGN)


def _ended(number: int, frame: FrameType | None) -> None:
    _ignore_signals()
    raise SystemExit(128 + number)
