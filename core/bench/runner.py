"""Running a model the user gave, with errors that the user can read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnx_pare.errors import ModelError
from onnx_pare.graph.session import Feeds, Session, SessionError


class Runner:
    """A model in onnxruntime that shares the machine with others: its threads rest between runs.

    Attributes:
        path: The ONNX file.
        outputs: Names of the outputs, in order.
    """

    def __init__(self, path: Path, *, threads: int = 1, without: Sequence[str] = ()) -> None:
        """Load the model, see `Session`.

        Raises:
            ModelError: onnxruntime does not load it.
        """
        self.path = path
        try:
            self._session = Session(path, threads=threads, spin_between_runs=False, without=without)
        except SessionError as error:
            raise ModelError(f"{path}: onnxruntime does not load it: {error}") from error
        self.outputs = self._session.outputs

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> list[Any]:
        """Run once and return the named outputs (default: all), in order.

        Raises:
            ModelError: onnxruntime fails to run it on `feeds`.
        """
        try:
            return self._session.run(feeds, outputs)
        except SessionError as error:
            raise ModelError(f"{self.path}: onnxruntime does not run it: {error}") from error
