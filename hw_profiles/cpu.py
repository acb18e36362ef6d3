"""What this machine's CPU is called, and which of its instructions decide how fast int8 and fp16 run."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
TOPOLOGY = Path("/sys/devices/system/cpu")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Feature:
    """One instruction set extension.

    Attributes:
        name: What its maker calls it.
        family: `x86` or `arm`.
        meaning: What having it means for quantized or half-precision models, in a few words.
        marks: How the systems spell it: a flag in /proc/cpuinfo, a word or a key in macOS's sysctl.
    """

    name: str
    family: str
    meaning: str
    marks: frozenset[str]


@dataclass(frozen=True)
class CpuFeatures:
    """This machine's CPU.

    Attributes:
        name: Its name as the system gives it, or `unknown`.
        family: `x86`, `arm` or `unknown`.
        cores: Logical cores this process may use.
        flags: Names of the features of `FEATURES` it has; None where the system does not say.
    """

    name: str
    family: str
    cores: int
    flags: tuple[str, ...] | None

    def has(self, feature: str) -> bool | None:
        """Return whether it has the feature of that name; None if unknown."""
        return None if self.flags is None else feature in self.flags

    def saturates(self) -> bool | None:
        """Return whether sums of 8-bit products can saturate in integer kernels; None if unknown.

        x86 without an 8-bit dot product adds pairs of products in 16 bits; Arm's kernels widen first.
        """
        if self.flags is None:
            return None
        return self.family == "x86" and not any(self.has(name) for name in DOT_PRODUCTS)


def _feature(name: str, family: str, meaning: str, *marks: str) -> Feature:
    return Feature(name, family, meaning, frozenset(marks))


# marks: Linux's arch/x86/include/asm/cpufeatures.h and Documentation/arch/arm64/elf_hwcaps.rst; macOS's
# sysctl hw.optional and machdep.cpu
FEATURES: tuple[Feature, ...] = (
    _feature("AVX2", "x86", "int8 kernels in 256 bits; sums of 8-bit products can saturate", "avx2"),
    _feature("AVX512F", "x86", "float and int8 kernels in 512 bits", "avx512f"),
    _feature("AVX512-VNNI", "x86", "int8 dot product, no saturation: int8 is fast",
             "avx512_vnni", "avx512vnni"),
    _feature("AVX-VNNI", "x86", "int8 dot product in 256 bits, no saturation: int8 is fast", "avx_vnni"),
    _feature("AMX-INT8", "x86", "int8 matrix tiles: fastest for large layers", "amx_int8"),
    _feature("AVX512-FP16", "x86", "computes in fp16; without it, fp16 is converted to float",
             "avx512_fp16"),
    _feature("DotProd", "arm", "int8 dot product: int8 is fast", "asimddp", "hw.optional.arm.feat_dotprod"),
    _feature("I8MM", "arm", "int8 matrix product: fastest for large layers", "i8mm",
             "hw.optional.arm.feat_i8mm"),
    _feature("FP16", "arm", "computes in fp16", "asimdhp", "hw.optional.arm.feat_fp16"),
)  # fmt: skip

# x86: the extensions that sum 8-bit products in 32 bits
DOT_PRODUCTS = ("AVX512-VNNI", "AVX-VNNI", "AMX-INT8")

FAMILIES: Mapping[str, str] = {
    "x86_64": "x86", "amd64": "x86", "i386": "x86", "i686": "x86",
    "aarch64": "arm", "arm64": "arm", "armv7l": "arm", "armv8l": "arm",
}  # fmt: skip

# Arm's Linux gives numbers instead of names: Main ID Register, parts of implementer 0x41 (Arm)
ARM_PARTS: Mapping[str, str] = {
    "0xd03": "Cortex-A53", "0xd04": "Cortex-A35", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72", "0xd09": "Cortex-A73", "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1", "0xd40": "Neoverse-V1", "0xd41": "Cortex-A78", "0xd42": "Cortex-A78AE",
    "0xd49": "Neoverse-N2", "0xd4f": "Neoverse-V2",
}  # fmt: skip


def features() -> CpuFeatures:
    """Return what is known about this machine's CPU; what the system does not say is `unknown` or None."""
    family = FAMILIES.get(platform.machine().lower(), UNKNOWN)
    read = READERS.get(platform.system(), _from_platform)
    name, marks = read()
    flags = None if marks is None else tuple(f.name for f in of_family(family) if f.marks & marks)
    return CpuFeatures(name=name or UNKNOWN, family=family, cores=usable_cores(), flags=flags)


def of_family(family: str) -> tuple[Feature, ...]:
    """Return the features that CPUs of this family may have."""
    return tuple(feature for feature in FEATURES if feature.family == family)


def core_numbers() -> tuple[int, ...]:
    """Return the logical cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Return how many logical cores this process may run on."""
    return len(core_numbers())


def physical_cores() -> int:
    """Return how many physical cores this process may run on; logical ones where the system does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return usable_cores()
    try:
        return len({_core(number) for number in os.sched_getaffinity(0)})
    except OSError:
        return usable_cores()


def _core(number: int) -> tuple[str, ...]:
    """Return the package and core of a logical core.

    Linux's Documentation/ABI/stable/sysfs-devices-system-cpu says where they stand.
    """
    topology = TOPOLOGY / f"cpu{number}" / "topology"
    return tuple((topology / name).read_text().strip() for name in ("physical_package_id", "core_id"))


Reading = tuple[str, "frozenset[str] | None"]


def parse_cpuinfo(text: str) -> Reading:
    """Return name and flags (None if there are none) from the text of Linux's /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    part = ARM_PARTS.get(fields.get("CPU part", "")) if fields.get("CPU implementer") == "0x41" else None
    names = (fields.get("model name"), part, fields.get("Model"), fields.get("Hardware"))
    flags = fields.get("flags", fields.get("Features"))
    return next(filter(None, names), ""), None if flags is None else frozenset(flags.split())


def parse_sysctl(text: str) -> Reading:
    """Return name and flags (None if there are none) from what `sysctl machdep.cpu hw.optional` prints."""
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    words = [fields.get(f"machdep.cpu.{key}", "") for key in ("features", "leaf7_features")]
    marks = {word for line in words for word in line.lower().split()}
    marks |= {key.lower() for key, value in fields.items() if value.strip() == "1"}
    return fields.get("machdep.cpu.brand_string", ""), frozenset(marks) or None


def _from_cpuinfo() -> Reading:
    try:
        return parse_cpuinfo(CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return _from_platform()


def _from_sysctl() -> Reading:
    command = ("sysctl", "machdep.cpu", "hw.optional")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return _from_platform()
    return parse_sysctl(done.stdout)


def _from_platform() -> Reading:
    return platform.processor(), None


READERS: Mapping[str, Callable[[], Reading]] = {"Linux": _from_cpuinfo, "Darwin": _from_sysctl}
