"""The errors onnx-pare raises, and the exit code each one becomes.

    PareError
    ├── InputError            exit 2: bad usage, recipe, model or data; nothing was written
    │   ├── UsageError        a flag or argument
    │   ├── RecipeError       a recipe, with file:line:column and the path of the key
    │   ├── ProfileError      a hardware profile, likewise
    │   ├── ManifestError     a manifest of many models, likewise
    │   ├── ReportError       a report of an earlier run, given to compare with
    │   ├── ModelError        an ONNX file that cannot be read, or not by onnx-pare
    │   ├── DataError         calibration or evaluation data
    │   ├── OutputError       a place that cannot be written
    │   └── ClusterError      a cluster that cannot be used, or is gone
    └── PassError             exit 3: a pass failed; names the pass and those run before it
        └── VerificationError what the pass made does not check, load or keep its promise

Every message says what is wrong and where; `hint` says what to do next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class PareError(Exception):
    """Base of all errors that a user is meant to read.

    Attributes:
        message: What is wrong, and where.
        hint: What to do next; may be empty.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


@contextmanager
def about(where: object) -> Iterator[None]:
    """Put `where`, such as a file, in front of the message of a ModelError."""
    try:
        yield
    except ModelError as error:
        error.message = f"{where}: {error.message}"
        raise


class InputError(PareError):
    """Something the user gave is unusable; nothing was written."""

    exit_code = 2


class UsageError(InputError):
    """A flag or argument is wrong, or two contradict each other."""


class RecipeError(InputError):
    """A recipe is wrong; the message starts with `file:line:column: path:`."""


class ProfileError(InputError):
    """A hardware profile is wrong, or cannot predict what is asked; the message names it."""


class ManifestError(InputError):
    """A manifest is wrong; the message starts with `file:line:column: path:`."""


class ReportError(InputError):
    """A report of an earlier run cannot be read, or has not what is to be compared."""


class ModelError(InputError):
    """A model cannot be read, or holds something onnx-pare does not know."""


class DataError(InputError):
    """Calibration or evaluation data cannot be used with this model."""


class OutputError(InputError):
    """An output cannot be written where it was asked for.

    Attributes:
        full: Whether the disk, or what the user may write of it, is used up.
    """

    def __init__(self, message: str, *, hint: str = "", full: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.full = full


class ClusterError(InputError):
    """A cluster cannot be used, or is gone."""


class PassError(PareError):
    """A pass failed; nothing was written at the output path.

    Attributes:
        pass_name: The guilty pass.
        reason: What is wrong, without the names of passes.
        before: The passes that had run before it, in order.
    """

    exit_code = 3

    def __init__(self, pass_name: str, message: str, *, before: Sequence[str] = (), hint: str = "") -> None:
        ran = f" (after {', '.join(before)})" if before else ""
        super().__init__(f"pass {pass_name}{ran}: {message}", hint=hint)
        self.pass_name = pass_name
        self.reason = message
        self.before = tuple(before)


class VerificationError(PassError):
    """The model a pass returned does not check, does not load, or broke the pass's promise."""
