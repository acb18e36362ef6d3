"""What of this machine decides how long a model takes, for reports that are compared later."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Machine:
    """Where a run was measured.

    Attributes:
        cpu: The CPU's name as the system gives it, or `unknown`.
        cores: Logical cores the process may use.
        onnxruntime: The version that ran the models.
    """

    cpu: str
    cores: int
    onnxruntime: str

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def this_machine() -> Machine:
    """Return what this machine is."""
    import onnxruntime as ort

    from onnx_pare.hw_profiles.cpu import features

    cpu = features()
    return Machine(cpu.name, cpu.cores, ort.__version__)
