"""How good candidates are: int8 models against the float one, on calibration samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from onnx_pare.bench.fidelity import Reference
from onnx_pare.graph.save import write_model

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.bench.fidelity import Fidelity
    from onnx_pare.calibration.data import Samples


@dataclass
class Judge:
    """Compares models with one float model over the same samples; the float model runs once.

    Attributes:
        model: The float model.
        samples: What to compare on.
        scratch: Folder for temporary files.
        threads: Threads of the onnxruntime sessions.
    """

    model: ir.Model
    samples: Samples
    scratch: Path
    threads: int = 1
    _reference: Reference | None = field(default=None, repr=False)

    def __call__(self, candidate: ir.Model) -> Fidelity:
        """Return how close a candidate's outputs are.

        Raises:
            ModelError: onnxruntime does not load or run it.
        """
        with TemporaryDirectory(dir=self.scratch) as folder:
            path = Path(folder) / "candidate.onnx"
            write_model(candidate, path)
            return self._float().compare(path)

    def on_first(self, count: int) -> Judge:
        """Return a judge that compares on the first samples only."""
        return Judge(self.model, self.samples.part(0, count), self.scratch, self.threads)

    def sqnr_db(self, candidate: ir.Model) -> float:
        """Return the candidate's SQNR; +inf for a model without float outputs, −inf where one breaks."""
        found = self(candidate).sqnr_db
        return math.inf if found is None else found

    def _float(self) -> Reference:
        if self._reference is None:
            path = self.scratch / f"float-{id(self)}.onnx"
            write_model(self.model, path)
            self._reference = Reference(path, self.samples, threads=self.threads)
        return self._reference
