"""`pare profiles`: the hardware that models can be benchmarked against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnx_pare.cli.console import JsonOption
from onnx_pare.cli.profiles_fit import fit as fit_command

if TYPE_CHECKING:
    from onnx_pare.hw_profiles.calibrate import Calibrated
    from onnx_pare.hw_profiles.profiles import Profile
    from onnx_pare.hw_profiles.schema import Fit

app = typer.Typer(help="List, show and measure hardware profiles.", no_args_is_help=True)
app.command("fit")(fit_command)
NOT_VALIDATED = "not validated"
# key of the facts -> (what it is called, its unit)
LABELS = {
    "peak_gops": ("peak", "GOP/s"),
    "peak_derivation": ("", ""),
    "memory_gb_per_s": ("memory bandwidth", "GB/s"),
    "memory_derivation": ("", ""),
    "caches_kib": ("caches", "KiB"),
    "onchip_kib": ("on the chip", "KiB"),
    "ram_mib": ("RAM", "MiB"),
    "sram_kib": ("SRAM", "KiB"),
    "flash_kib": ("flash", "KiB"),
    "link_gb_per_s": ("link", "GB/s"),
    "link_derivation": ("", ""),
    "int8_dot_product": ("int8 dot product", ""),
}


@app.command("list")
def list_profiles(json: JsonOption = "") -> None:
    """List the profiles, their runtimes, and the error found on models held out of the fit."""
    from onnx_pare.cli import console
    from onnx_pare.cli.columns import aligned
    from onnx_pare.hw_profiles.profiles import find, names

    profiles = [find(name) for name in names()]
    if json:
        rows = [_listed(profile) for profile in profiles]
        console.write_json({"schema": "onnx-pare/profiles/1", "profiles": rows}, json)
    if json == "-":
        return
    lines = [("name", "kind", "held-out error", "runtimes", "title"), *map(_line, profiles)]
    for line in aligned(lines):
        console.out().print(line, markup=False, highlight=False, soft_wrap=True)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A name that `pare profiles list` prints, or a YAML path.")],
    json: JsonOption = "",
) -> None:
    """Show what is known about one profile: facts and where they come from, fits and their errors."""
    from onnx_pare.cli import console
    from onnx_pare.hw_profiles.profiles import describe, find

    profile = find(name)
    facts = describe(profile)
    if json:
        console.write_json({"schema": "onnx-pare/profile/1", **facts}, json)
    if json == "-":
        return
    lines = _pairs(facts) if profile.device is None else _device(profile, facts)
    for line in lines:
        console.out().print(line, markup=False, highlight=False, soft_wrap=True)


@app.command("calibrate")
def calibrate_command(
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Where to; by default where `local` is looked for."
        ),
    ] = None,
    budget: Annotated[float, typer.Option(min=1, help="Seconds it may take.")] = 60.0,
    threads: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="Threads to measure with; repeatable. By default 1, and all physical cores."
        ),
    ] = None,
    json: JsonOption = "",
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress bars.")] = False,
) -> None:
    """Measure this machine in onnxruntime, so that latencies can be predicted for it."""
    from onnx_pare.cli import console
    from onnx_pare.graph.save import check_writable, publish_text
    from onnx_pare.hw_profiles.calibrate import calibrate
    from onnx_pare.hw_profiles.cpu import physical_cores
    from onnx_pare.hw_profiles.local import local_profile_path
    from onnx_pare.hw_profiles.local_profile import device, yaml_text

    target = output or local_profile_path()
    if output is None:
        target.parent.mkdir(parents=True, exist_ok=True)
    check_writable(target, overwrite=True)
    numbers = list(dict.fromkeys(threads or (1, physical_cores())))
    with console.progress(not no_progress) as bars:
        found = calibrate(threads=numbers, budget_s=budget, progress=bars)
    made = device(found)
    publish_text(yaml_text(made), target)
    if json:
        console.write_json(
            {"schema": "onnx-pare/calibration/1", "written": str(target), "device": made}, json
        )
    if json == "-":
        return
    for line in _calibrated(found):
        console.out().print(line, markup=False, highlight=False, soft_wrap=True)
    console.out().print(f"written  {target}", markup=False, highlight=False, soft_wrap=True)


def _calibrated(found: Sequence[Calibrated]) -> Iterator[str]:
    """Say what was measured, and how well networks are predicted that the fit did not see."""
    from onnx_pare.cli.columns import aligned

    lines: list[tuple[str, ...]] = [
        ("", "threads", "GMAC/s", "GB/s", "µs a kernel", "networks", "held-out error")
    ]
    for one in found:
        rates = one.rates
        speeds = (rates.work_per_s / 1e9, rates.bytes_per_s / 1e9, rates.overhead_s * 1e6)
        shown = (f"{value:.3g}" for value in speeds)
        error = f"{one.error_percent:.1f} %"
        lines.append((one.dtype, str(one.threads), *shown, str(one.networks), error))
    yield from aligned(lines)


def _listed(profile: Profile) -> dict[str, Any]:
    device = profile.device
    return {
        "name": profile.name,
        "kind": profile.kind,
        "title": profile.title,
        "runtime": profile.runtime,
        "device_kind": device.kind if device else "cpu",
        "runtimes": list(device.runtimes) if device else [profile.runtime],
        "held_out_error_percent": _errors(profile),
    }


def _line(profile: Profile) -> tuple[str, ...]:
    device = profile.device
    if device is None:
        return profile.name, "cpu", "measured", profile.runtime, profile.title
    shown = ", ".join(f"{name} {error:.1f} %" for name, error in _errors(profile).items())
    return profile.name, device.kind, shown or NOT_VALIDATED, ", ".join(device.runtimes), device.title


def _errors(profile: Profile) -> dict[str, float]:
    """Return the held-out error of each runtime that was validated."""
    from onnx_pare.hw_profiles.profiles import best_fit

    if profile.device is None:
        return {}
    best = {name: best_fit(runtime.fits) for name, runtime in profile.device.runtimes.items()}
    return {name: fit.validation.error_percent for name, fit in best.items() if fit and fit.validation}


def _pairs(facts: Mapping[str, Any]) -> Iterator[str]:
    for key, value in facts.items():
        yield f"{key.replace('_', ' '):<18} {_text(value)}"


def _device(profile: Profile, facts: Mapping[str, Any]) -> Iterator[str]:
    yield from _pairs({"name": profile.name, "title": profile.title, "kind": facts["device_kind"]})
    yield "\nfacts"
    for key, value in facts["facts"].items():
        if key == "cores":
            yield from (f"  {'cores':<18} {_cores(each)}" for each in value)
        else:
            label, unit = LABELS.get(key, (key, ""))
            yield f"  {label:<18} {_text(value)} {unit}".rstrip()
    yield "\nsources"
    yield from (f"  {source}" for source in facts["sources"])
    for name, runtime in profile.known.runtimes.items():
        default = " (default)" if name == next(iter(profile.known.runtimes)) else ""
        yield f"\n{name}{default}: costs of {runtime.costs}"
        yield from fit_lines(runtime.fits, threads=profile.known.kind == "cpu")


def _cores(cores: Mapping[str, Any]) -> str:
    wide = cores.get("float32_flops_per_cycle")
    width = f", {wide:g} float32 operations per cycle" if wide else ""
    return f"{cores['count']} × {cores['name']}, {cores['clock_ghz']:g} GHz{width}"


def fit_lines(fits: Sequence[Fit], *, threads: bool) -> Iterator[str]:
    """Yield what is said of fits: rates and errors."""
    if not fits:
        yield f"  {NOT_VALIDATED}: no measurements, predicted from the facts alone"
    for fit in fits:
        used = f", {fit.threads} thread{'s' if fit.threads > 1 else ''}" if threads else ""
        rates = f"{_rate(fit.gmacs_per_s)} GMAC/s, {_rate(fit.gb_per_s)} GB/s"
        models = f"{fit.measured_models} model{'s' if fit.measured_models > 1 else ''}"
        measured = f"{fit.overhead_us:.3g} µs per kernel; {models} measured"
        yield f"  {fit.dtype}{used}: {rates}, {measured}"
        found = fit.validation
        if found is None:
            yield f"    {NOT_VALIDATED}"
            continue
        median = "" if found.median_percent is None else f", median {found.median_percent:.1f} %"
        within = "" if found.within_20_percent is None else f", {found.within_20_percent:.0f} % within ±20 %"
        held = f"{found.models} models held out by {found.held_out}"
        yield f"    error {found.error_percent:.1f} % in the mean{median}{within} ({held})"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {_text(each)}" for key, each in value.items())
    if isinstance(value, float):
        return f"{value:,g}"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
