"""How a command ends, whatever ends it: signals become exceptions, and temporary files go."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

# what ends a run from outside; the exit code is 128 and the number, so 130 for Ctrl-C
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
# an end that has not come after so many seconds is asked for again
AGAIN_S = 5.0


@contextmanager
def clean() -> Iterator[None]:
    """Let the first of SIGNALS end what runs inside by way of SystemExit, and take its temporary files away.

    All temporary files of this process and its children lie in one new folder that only this user can read
    (mode 0700). Further signals are ignored while it is removed. Signals that the caller ignores stay
    ignored, as nohup and scripts that use & want it.
    """
    handlers = {number: signal.getsignal(number) for number in _signals()}
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    ending, root = _Ending(), ""
    try:
        with ending.kept():
            for number, handler in handlers.items():
                if handler != signal.SIG_IGN:
                    signal.signal(number, ending.begin)
            root = _private_name()  # known before the folder is there: a signal may come in between
            if root and not _made(root):
                root = ""
            yield
    finally:
        _restore(*before)
        if root:
            shutil.rmtree(root, ignore_errors=True)
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _Ending:
    """The end that a signal asks for, whatever becomes of the exception on its way.

    Native code makes another exception of it (a module that is being imported), or swallows it (callbacks).
    """

    def __init__(self) -> None:
        self._number = 0

    def begin(self, number: int, frame: FrameType | None) -> None:
        """Begin to end: the handler of SIGNALS."""
        self._number = number
        self._ignore()
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._again)
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
        raise SystemExit(128 + number)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Make sure that the block ends as the signal wants, and is not disturbed by another at its end."""
        try:
            yield
        except Exception:
            if self._number:
                raise SystemExit(128 + self._number) from None
            raise
        finally:
            self._ignore()
            if self._number and hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _again(self, number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + self._number)

    def _ignore(self) -> None:
        for number in _signals():
            if signal.getsignal(number) == self.begin:
                signal.signal(number, signal.SIG_IGN)


def _private_name() -> str:
    try:
        return str(Path(tempfile.gettempdir()) / f"onnx-pare-{secrets.token_hex(8)}")
    except OSError:
        return ""


def _made(root: str) -> bool:
    """Make the folder and have Python and its children use it; tell whether it could be made.

    Who needs a temporary file then says so: `--help` needs none.
    """
    try:
        Path(root).mkdir(0o700)
    except OSError:
        return False
    tempfile.tempdir = os.environ["TMPDIR"] = root
    return True


def _restore(tempdir: str | None, variable: str | None) -> None:
    tempfile.tempdir = tempdir
    os.environ.pop("TMPDIR", None)
    if variable is not None:
        os.environ["TMPDIR"] = variable


def _signals() -> list[Any]:
    return [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
