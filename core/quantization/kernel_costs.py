"""How long onnxruntime's kernels take, predicted from a table that was fitted to profiles.

    t = overhead + sqrt( (MACs · h · mac_ps)² + (elements · element_ns)² )
    h = 1 + depth / (length of the dot products) + width / (output channels) + positions / (output positions)

The form is that of the hardware profiles: a roofline with a smooth knee, and h for small kernels that do not
fill the vector units. `scripts/fit_kernel_costs.py` wrote the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import hypot

from onnx_pare.hw_profiles.cpu import CpuFeatures, features
from onnx_pare.quantization.work import Work

# the instructions a table was made for, all of which a CPU must have
TABLES: Mapping[str, tuple[str, frozenset[str]]] = {
    "x86-avx512-vnni": ("x86", frozenset({"AVX512F", "AVX512-VNNI"}))
}
# the row of operators that the profiles did not hold
OTHER = "other"


@dataclass(frozen=True)
class Row:
    """The constants of one kind of kernel; see the module's formula."""

    overhead_us: float
    element_ns: float
    mac_ps: float = 0.0
    depth: float = 0.0
    width: float = 0.0
    positions: float = 0.0

    def us(self, work: Work, *, gathers: bool = False) -> float:
        """Return the predicted time; `gathers` where the kernel copies its input into a matrix first."""
        h = 1 + self.depth / work.depth + self.width / work.width + self.positions / work.positions
        elements = work.elements + (work.gathered if gathers else 0)
        return self.overhead_us + hypot(work.macs * h * self.mac_ps * 1e-6, elements * self.element_ns * 1e-3)


@dataclass(frozen=True)
class KernelCosts:
    """Kernels of one instruction set.

    Attributes:
        name: The instruction set.
        exact: Whether this machine has it; otherwise the times are those of another CPU.
        float32: Kind of work -> row, for float kernels.
        int8: The same for integer kernels.
        quantize: Row of a border from float to uint8, conversion and change of layout.
        dequantize: Row of a border back.
    """

    name: str
    exact: bool
    float32: Mapping[str, Row]
    int8: Mapping[str, Row]
    quantize: Row
    dequantize: Row

    def other_cpu(self) -> tuple[str, ...]:
        """Return a sentence for the user if the times are not those of this machine's instruction set."""
        if self.exact:
            return ()
        return (
            f"int8 placement is predicted with the kernel times of {self.name}, which this CPU is not; "
            "measure instead, or check the speed",
        )

    def float_us(self, work: Work) -> float:
        """Return the predicted time of the float kernel."""
        return self.float32.get(work.kind, self.float32[OTHER]).us(work)

    def int8_us(self, work: Work) -> float:
        """Return the predicted time of the integer kernel."""
        return self.int8.get(work.kind, self.int8[OTHER]).us(work, gathers=True)


def kernel_costs(cpu: CpuFeatures | None = None) -> KernelCosts:
    """Return the table for a CPU (default: this machine's), or the nearest one there is."""
    cpu = cpu or features()
    for name, (family, needed) in TABLES.items():
        if cpu.family == family and all(cpu.has(flag) for flag in needed):
            return _load(name, exact=True)
    return _load(next(iter(TABLES)), exact=False)


@cache
def _load(name: str, *, exact: bool) -> KernelCosts:
    import yaml

    text = files("onnx_pare.quantization").joinpath("kernel_costs.yaml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)[name]
    rows = {
        part: {kind: Row(**row) for kind, row in table[part].items()}
        for part in ("float32", "int8", "borders")
    }
    borders = rows["borders"]
    return KernelCosts(name, exact, rows["float32"], rows["int8"], borders["quantize"], borders["dequantize"])
