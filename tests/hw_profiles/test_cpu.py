from __future__ import annotations

import platform
from pathlib import Path

import pytest

from onnx_pare.hw_profiles import cpu

XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8488C
flags\t\t: fpu avx2 avx512f avx512_vnni avx_vnni amx_int8

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8488C
flags\t\t: fpu
"""
RASPBERRY_PI_5 = """\
processor\t: 0
Features\t: fp asimd crc32 atomics fphp asimdhp asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
APPLE_M2 = """\
machdep.cpu.brand_string: Apple M2
machdep.cpu.core_count: 8
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_FP16: 1
hw.optional.arm.FEAT_SME: 0
"""
INTEL_MAC = """\
machdep.cpu.brand_string: Intel(R) Core(TM) i7-1068NG7 CPU @ 2.30GHz
machdep.cpu.features: FPU SSE4.2 AVX1.0
machdep.cpu.leaf7_features: AVX2 AVX512F AVX512VNNI
"""


def on(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)


@pytest.mark.parametrize(
    ("text", "machine", "name", "flags"),
    [
        (
            XEON,
            "x86_64",
            "Intel(R) Xeon(R) Platinum 8488C",
            ("AVX2", "AVX512F", "AVX512-VNNI", "AVX-VNNI", "AMX-INT8"),
        ),
        (RASPBERRY_PI_5, "aarch64", "Cortex-A76", ("DotProd", "FP16")),
    ],
)
def test_linux(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    text: str,
    machine: str,
    name: str,
    flags: tuple[str, ...],
) -> None:
    on(monkeypatch, "Linux", machine)
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    found = cpu.features()
    assert (found.name, found.flags) == (name, flags)


@pytest.mark.parametrize(
    ("text", "name", "marks"),
    [
        (APPLE_M2, "Apple M2", {"hw.optional.arm.feat_dotprod", "hw.optional.arm.feat_i8mm"}),
        (INTEL_MAC, "Intel(R) Core(TM) i7-1068NG7 CPU @ 2.30GHz", {"avx2", "avx512f", "avx512vnni"}),
    ],
)
def test_macos(text: str, name: str, marks: set[str]) -> None:
    found, present = cpu.parse_sysctl(text)
    assert found == name
    assert present is not None
    assert marks <= present
    assert "hw.optional.arm.feat_sme" not in present


def test_a_system_that_does_not_tell_is_unknown_not_an_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "Windows", "AMD64")
    monkeypatch.setattr(platform, "processor", lambda: "")
    found = cpu.features()
    assert found.name == cpu.UNKNOWN
    assert found.flags is None
    assert found.has("AVX2") is None


def test_unreadable_cpuinfo_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on(monkeypatch, "Linux", "x86_64")
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "missing")
    assert cpu.features().flags is None


def test_macos_without_sysctl_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "Darwin", "arm64")
    monkeypatch.setenv("PATH", "")
    assert cpu.features().flags is None


def test_this_machine() -> None:
    found = cpu.features()
    assert found.cores >= 1
    assert found.name
    for feature in cpu.of_family(found.family):
        assert found.has(feature.name) in (True, False, None)


@pytest.mark.parametrize(
    ("family", "flags", "saturates"),
    [
        ("x86", (), True),
        ("x86", ("AVX2", "AVX512F"), True),
        ("x86", ("AVX2", "AVX512-VNNI"), False),
        ("x86", ("AVX2", "AVX-VNNI"), False),
        ("x86", ("AMX-INT8",), False),
        ("x86", None, None),
        ("arm", (), False),
        ("arm", ("DotProd",), False),
        ("unknown", None, None),
    ],
)
def test_x86_without_a_dot_product_saturates(
    family: str, flags: tuple[str, ...] | None, saturates: bool | None
) -> None:
    assert cpu.CpuFeatures("one", family, 1, flags).saturates() is saturates


def test_physical_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    monkeypatch.setattr(cpu, "TOPOLOGY", tmp_path)
    assert cpu.physical_cores() == 3  # the system does not say
    for number, core in ((0, "0"), (1, "1"), (2, "0")):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "core_id").write_text(f"{core}\n")
        (folder / "physical_package_id").write_text("0\n")
    assert cpu.physical_cores() == 2
