"""`pare profiles fit`: a profile refined by measurements of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnx_pare.cli.console import JsonOption

if TYPE_CHECKING:
    from onnx_pare.hw_profiles.profiles import Profile
    from onnx_pare.hw_profiles.refine import Measurement, Timed
    from onnx_pare.hw_profiles.schema import Device, Fit


def fit(
    name: Annotated[
        str, typer.Argument(help="A profile, or a YAML path; NAME@RUNTIME says for which runtime.")
    ],
    measurements: Annotated[
        Path,
        typer.Option(
            "--measurements", metavar="FILE", help="CSV with the columns model, latency_ms, threads, batch."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The new profile; by default NAME.yaml here."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: JsonOption = "",
) -> None:
    """Refine a profile by models that were measured on the device, and write it as a YAML file."""
    from onnx_pare.cli import console
    from onnx_pare.cli.profiles import fit_lines
    from onnx_pare.errors import UsageError
    from onnx_pare.graph.save import check_writable, publish_text
    from onnx_pare.hw_profiles.local_profile import yaml_text
    from onnx_pare.hw_profiles.profiles import find
    from onnx_pare.hw_profiles.refine import read_measurements, refined

    profile = find(name)
    if profile.device is None:
        raise UsageError(
            "local is measured", hint="`pare profiles calibrate` fits a profile of this machine."
        )
    target = output or Path(f"{Path(name.partition('@')[0]).stem}.yaml")
    check_writable(target, overwrite=overwrite)
    timed = [_timed(profile, row) for row in read_measurements(measurements)]
    device = refined(profile, timed)
    made = device.model_dump(exclude_defaults=True, mode="json")
    publish_text(yaml_text(made), target)
    if json:
        written = {"schema": "onnx-pare/profile-fit/1", "written": str(target), "device": made}
        console.write_json(written, json)
    if json == "-":
        return
    for line in fit_lines(_new_fits(device, profile, timed), threads=device.kind == "cpu"):
        console.out().print(line, markup=False, highlight=False, soft_wrap=True)
    console.out().print(f"written  {target}", markup=False, highlight=False, soft_wrap=True)


def _timed(profile: Profile, row: Measurement) -> Timed:
    from onnx_pare.bench.feeds import timing_shapes
    from onnx_pare.errors import ProfileError
    from onnx_pare.graph.load import load_model
    from onnx_pare.hw_profiles.refine import Timed
    from onnx_pare.hw_profiles.workload import Workload

    if not row.model.exists():
        raise ProfileError(f"{row.where}: no such model: {row.model}")
    model = load_model(row.model)
    sizes, batch, times = timing_shapes(row.model, model, batch=row.batch, shapes={})
    work = Workload.of(model, sizes, batch=batch, times=times)
    kernels = work.kernels(profile.costs.fusion)
    return Timed(row.model.stem, kernels, row.latency_ms, row.threads, batch)


def _new_fits(device: Device, profile: Profile, timed: list[Timed]) -> list[Fit]:
    wanted = {(one.dtype, one.threads) for one in timed}
    return [fit for fit in device.runtimes[profile.runtime].fits if (fit.dtype, fit.threads) in wanted]
