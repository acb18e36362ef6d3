"""Whether a model fits into the memory of a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_pare.hw_profiles.schema import Device

KIB = 1024
# where amounts are given in KB, and where in MB, both of 1024
SMALL = ("SRAM", "flash")


@dataclass(frozen=True)
class MemoryNeed:
    """What a model needs of one kind of memory, and what there is.

    Attributes:
        memory: `SRAM`, `flash` or `RAM`.
        needs_bytes: What the model needs at least: a runtime needs some more for itself.
        has_bytes: What the device has.
    """

    memory: str
    needs_bytes: int
    has_bytes: int

    @property
    def fits(self) -> bool:
        """Whether there is enough."""
        return self.needs_bytes <= self.has_bytes

    def __str__(self) -> str:
        """Return for example `does not fit: needs 412 KB of 320 KB SRAM`, in 1,024 bytes as vendors count."""
        unit, size = ("KB", KIB) if self.memory in SMALL else ("MB", KIB**2)
        needs, has = -(-self.needs_bytes // size), self.has_bytes // size
        verdict = "fits" if self.fits else "does not fit"
        return f"{verdict}: needs {needs:,} {unit} of {has:,} {unit} {self.memory}"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"needs_bytes": self.needs_bytes, "has_bytes": self.has_bytes, "fits": self.fits}


def memory_needs(device: Device, *, activation_bytes: int, weight_bytes: int) -> Sequence[MemoryNeed]:
    """Return what is known: activations in SRAM and weights in flash, or both in RAM.

    Args:
        device: The device.
        activation_bytes: The most that live at one time.
        weight_bytes: All weights.
    """
    facts = device.facts
    both = activation_bytes + weight_bytes
    known = (
        ("SRAM", activation_bytes, facts.sram_kib, KIB),
        ("flash", weight_bytes, facts.flash_kib, KIB),
        ("RAM", both, facts.ram_mib, KIB**2),
    )
    return [MemoryNeed(name, need, int(has * unit)) for name, need, has, unit in known if has is not None]
