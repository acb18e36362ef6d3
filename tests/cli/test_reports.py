"""`--report-junit` and `--baseline` of `optimize`, as a CI job uses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from onnx_pare.cli.units import plain
from onnx_pare.errors import PassError, ReportError
from onnx_pare.passes import base
from onnx_pare.zoo.folder import OutputFolder
from onnx_pare.zoo.remote_folder import RemoteFolder
from tests.pipeline.reports import report

RUN = ("optimize", "net.onnx", "-c", "r.yaml")
JUNIT = ("--report-junit", "j.xml")


def cases() -> dict[str, list[str]]:
    """Return what is in each case of the JUnit report, by its name."""
    return {case.attrib["name"]: [one.tag for one in case] for case in ET.parse("j.xml").iter("testcase")}


def error() -> ET.Element:
    (found,) = ET.parse("j.xml").iter("error")
    return found


# --- JUnit --------------------------------------------------------------------------------------------------


def test_a_run_as_a_test_suite(command: Any, folder: Path) -> None:
    ran = command(*RUN, *JUNIT, "--gate", "sqnr_db>=1", "--gate", "size_bytes<=1")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.endswith("written  net.r.onnx\nreport   j.xml\n")
    assert cases() == {
        "run": ["system-out"],
        "pass quantize_int8": ["properties"],
        "gate sqnr_db>=1": ["properties"],
        "gate size_bytes<=1": ["properties", "failure"],
    }
    assert command(*RUN, *JUNIT, "--overwrite").code == 0
    assert list(cases()) == ["run", "pass quantize_int8"]


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (("none.onnx", "-c", "r.yaml"), "ModelError", "none.onnx: no such file"),
        (("net.onnx", "-c", "none.yaml"), "RecipeError", "'none.yaml': no such recipe"),
        (("net.onnx",), "UsageError", "no recipe given\nAdd --config RECIPE"),
        (("-c", "r.yaml"), "UsageError", "no model given"),
        (("net.onnx", "-c", "r.yaml", "--gate", "x"), "RecipeError", "'x' is not METRIC OP NUMBER"),
        (("net.onnx", "-c", "r.yaml", "--shape", "y=1x2"), "UsageError", "'y'"),
    ],
)
def test_a_run_on_bad_input(
    command: Any, folder: Path, arguments: tuple[str, ...], kind: str, said: str
) -> None:
    ran = command("optimize", *arguments, *JUNIT)
    assert ran.code == 2
    assert error().attrib["type"] == kind
    assert said in (error().text or "")
    assert f"error: {error().attrib['message']}" in ran.err


@pytest.mark.parametrize("raised", [PassError("quantize_int8", "no"), KeyError("oops"), MemoryError()])
def test_a_pass_that_fails(
    command: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def apply(self: object, model: object, context: object) -> base.Outcome:
        raise raised

    monkeypatch.setattr(base.registry()["quantize_int8"], "apply", apply)
    ran = command(*RUN, *JUNIT)
    assert ran.code == 3
    assert list(cases()) == ["run"]
    assert f"error: {error().attrib['message']}" in ran.err
    assert ET.parse("j.xml").getroot()[0].attrib["name"] == "net.onnx"


@pytest.mark.parametrize("flags", [("--dry-run",), ("--print-recipe",)])
def test_what_only_looks_writes_none(command: Any, folder: Path, flags: tuple[str, ...]) -> None:
    assert command(*RUN, *JUNIT, *flags).code == 0
    assert command(*RUN, *JUNIT, "--gate", "x", *flags).code == 2
    assert not Path("j.xml").exists()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("net.onnx", "exists already and is no JUnit report"),
        ("r.yaml", "exists already and is no JUnit report"),
        ("out.onnx", "out.onnx: is another output"),
        ("./r.json", "r.json: is another output"),
        ("missing/j.xml", "missing: no such folder"),
        ("-", "--report-junit -: is not written to stdout"),
        (".", ".: is a folder"),
    ],
)
def test_nothing_else_is_replaced(command: Any, folder: Path, path: str, said: str) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    ran = command(*RUN, "-o", "out.onnx", "--report-json", "r.json", "--report-junit", path)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_the_default_output_is_not_taken_for_a_report(command: Any, folder: Path) -> None:
    assert command(*RUN).code == 0
    before = Path("net.r.onnx").read_bytes()
    assert command(*RUN, "--overwrite", "--report-junit", "net.r.onnx").code == 2
    assert Path("net.r.onnx").read_bytes() == before


def test_a_report_in_an_output_folder_at_a_url(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/out/a.onnx.report.json", json.dumps(report()).encode())
    folder = RemoteFolder("memory://out", OutputFolder(tmp_path, tmp_path))
    assert folder.read_report("a.onnx.report.json") == report()
    with pytest.raises(ReportError, match=r"memory://out/b\.onnx\.report\.json"):
        folder.read_report("b.onnx.report.json")


# --- baselines ----------------------------------------------------------------------------------------------


@pytest.fixture
def old(command: Any, folder: Path) -> Path:
    """Return the report of an earlier run, which left its output as well."""
    assert command(*RUN, "--report-json", "old.json").code == 0
    return Path("old.json")


BASELINE = ("--overwrite", "--baseline", "old.json")


def test_gates_against_the_last_report(command: Any, old: Path) -> None:
    size = json.loads(old.read_text())["after"]["size_bytes"]
    gates = ("--gate", "size_bytes<=1.05*baseline", "--gate", "sqnr_db>=baseline")
    ran = command(*RUN, *BASELINE, *gates, "--report-json", "new.json")
    assert (ran.code, ran.err) == (0, "")
    assert (
        f"gate     met      size_bytes<=1.05*baseline  (is {plain(size)}, the bound {plain(1.05 * size)})"
        in ran.out
    )
    assert "baseline old.json  (same model, recipe, version and machine)\n" in ran.out
    new = json.loads(Path("new.json").read_text())
    assert new["baseline"]["path"] == "old.json"
    assert new["baseline"]["differences"] == []
    assert new["gates"][0]["bound"] == pytest.approx(1.05 * size)


def test_one_that_is_not_met(command: Any, old: Path) -> None:
    ran = command(*RUN, *BASELINE, "--gate", "size_bytes<=0.5*baseline", "-q")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("gate not met: size_bytes<=0.5*baseline (size_bytes is ")
    assert ", the bound " in ran.err


def test_in_a_recipe(command: Any, old: Path) -> None:
    Path("r.yaml").write_text(Path("r.yaml").read_text() + "gates: [size_bytes<=1.05*baseline]\n")
    assert command(*RUN, *BASELINE).code == 0
    ran = command(*RUN, "--overwrite")
    assert (ran.code, ran.out) == (2, "")
    assert "compares with a baseline, and none is given\n  Add --baseline REPORT" in ran.err


def test_latency_measured_here_and_by_another_machine(command: Any, folder: Path) -> None:
    local = ("--set", "benchmark.profiles=[local]", "--set", "benchmark.runs=3")
    assert command(*RUN, *local, "--report-json", "old.json").code == 0
    report = json.loads(Path("old.json").read_text())
    report["machine"]["cpu"] = "another CPU"
    Path("old.json").write_text(json.dumps(report))
    ran = command(*RUN, *local, *BASELINE, "--gate", "latency_ms[local]<=1000*baseline")
    assert ran.code == 0
    assert "warning  latency is compared with old.json, measured otherwise: CPU another CPU, here " in ran.out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "old.json: no such file"),
        ("not JSON", "old.json:1:1: not valid JSON"),
        ("{}", "old.json: not a report of onnx-pare"),
    ],
)
def test_a_baseline_that_is_none(command: Any, folder: Path, content: str | None, said: str) -> None:
    if content is not None:
        Path("old.json").write_text(content)
    ran = command(*RUN, *BASELINE, "--gate", "size_bytes<=baseline", *JUNIT)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {said}")
    assert not Path("net.r.onnx").exists()
    assert error().attrib["type"] == "ReportError"


def test_the_baseline_is_not_replaced(command: Any, old: Path) -> None:
    before = old.read_bytes()
    ran = command(*RUN, *BASELINE, "--gate", "size_bytes<=baseline", "--report-json", "old.json")
    assert (ran.code, ran.err) == (2, "error: old.json: is the baseline\n  Choose another name.\n")
    assert old.read_bytes() == before


def test_a_dry_run_looks_at_it_too(command: Any, old: Path) -> None:
    gate = ("--gate", "top1_drop<=baseline", "--dry-run")
    ran = command(*RUN, *BASELINE, *gate)
    assert ran.code == 2
    assert "old.json: has no top1_drop" in ran.err
    assert (
        "baseline     old.json\n"
        in command(*RUN, *BASELINE, "--gate", "size_bytes<=baseline", "--dry-run").out
    )
