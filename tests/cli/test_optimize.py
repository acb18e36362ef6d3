"""The flags of `optimize`, and what a run prints, writes and leaves alone; test_bad_input.py has the rest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnx_pare.pipeline.recipe import load_recipe

RUN = ("optimize", "net.onnx", "-c", "r.yaml")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_result_lies_beside_the_model(command: Any, folder: Path) -> None:
    before = Path("net.onnx").read_bytes()
    ran = command(*RUN)
    assert (ran.code, ran.err) == (0, "")
    assert "net.onnx → net.r.onnx  (r.yaml)" in ran.out
    assert ran.out.endswith("written  net.r.onnx\n")
    assert names(folder) == {"net.onnx", "r.yaml", "net.r.onnx"}
    assert Path("net.onnx").read_bytes() == before


def test_the_output_says_which_recipe_was_taken(command: Any, folder: Path) -> None:
    run = ("optimize", "net.onnx", "-o", "out.onnx", "--dry-run", "-c")
    assert "shipped recipe int8\n" in command(*run, "int8").out
    assert "shipped recipe int8\n" in command(*run, "int8.yaml").out
    Path("int8.yaml").write_text(Path("r.yaml").read_text())
    assert "recipe       int8.yaml\n" in command(*run, "int8.yaml").out
    assert "shipped recipe int8\n" in command(*run, "int8").out


@pytest.mark.parametrize(
    "name",
    ["with space.onnx", "模型-ünï.onnx", "-dash.onnx", "[red]x.onnx", "no-ending", "n" * 240 + ".onnx"],
)
def test_names_of_any_kind(command: Any, folder: Path, name: str) -> None:
    Path("net.onnx").rename(name)
    ran = command("optimize", "-c", "r.yaml", "--", name)
    assert (ran.code, ran.err) == (0, "")
    assert f"written  {Path(name).stem}.r.onnx\n" in ran.out
    assert onnx.load(f"{Path(name).stem}.r.onnx").graph.node


def test_a_file_name_that_is_no_text(command: Any, folder: Path) -> None:
    name = "net-\udcff.onnx"
    try:
        Path("net.onnx").rename(name)
    except OSError:
        pytest.skip("this file system takes no such name")
    ran = command("optimize", name, "-c", "r.yaml", "-o", "out.onnx", "--report-json", "r.json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(Path("r.json").read_text())["model"]["path"] == name


def test_the_output_path(command: Any, folder: Path) -> None:
    Path("sub").mkdir()
    assert command(*RUN, "-o", "sub/../sub/out.onnx").code == 0
    assert command(*RUN, "-o", folder / "sub" / "absolute.onnx").code == 0
    assert names(Path("sub")) == {"out.onnx", "absolute.onnx"}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that nobody can write")
def test_the_current_folder_need_not_be_writable(
    command: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/proc/self")
    ran = command("optimize", folder / "net.onnx", "-c", folder / "r.yaml")
    assert (ran.code, ran.err) == (0, "")
    assert (folder / "net.r.onnx").is_file()


def test_a_link_to_the_model(command: Any, folder: Path) -> None:
    Path("sub").mkdir()
    Path("sub/link.onnx").symlink_to("../net.onnx")
    assert command("optimize", "sub/link.onnx", "-c", "r.yaml").code == 0
    assert names(Path("sub")) == {"link.onnx", "link.r.onnx"}


def test_overwrite(command: Any, folder: Path) -> None:
    Path("net.r.onnx").write_text("old")
    Path("out.onnx").symlink_to("net.r.onnx")
    assert command(*RUN, "-o", "out.onnx", "--overwrite").code == 0
    assert Path("net.r.onnx").read_text() == "old", "a link is replaced, not followed"
    assert command(*RUN, "--overwrite").code == 0
    assert onnx.load("net.r.onnx").graph.node


def test_the_same_command_gives_the_same_bytes(command: Any, folder: Path) -> None:
    for output in ("a.onnx", "b.onnx"):
        assert command(*RUN, "-o", output, "--seed", "7").code == 0
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()


# --- gates and reports --------------------------------------------------------------------------------------


def test_a_gate_that_is_not_met(command: Any, folder: Path) -> None:
    ran = command(*RUN, "--gate", "size_bytes<=100", "--gate", "sqnr_db>=1")
    assert (ran.code, ran.err) == (1, "")
    assert "NOT MET  size_bytes<=100  (is " in ran.out
    assert "met      sqnr_db>=1  (is " in ran.out
    assert onnx.load("net.r.onnx").graph.node


@pytest.mark.parametrize("flags", [["-q"], ["--report-json", "-"]])
def test_a_gate_that_is_not_met_is_said_even_if_quiet(command: Any, folder: Path, flags: list[str]) -> None:
    ran = command(*RUN, "--gate", "size_bytes<=100", *flags)
    assert ran.code == 1
    assert ran.err.startswith("gate not met: size_bytes<=100 (size_bytes is ")


def test_quiet_is_quiet_but_for_errors(command: Any, folder: Path) -> None:
    ran = command(*RUN, "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    ran = command(*RUN, "-q")
    assert (ran.code, ran.out) == (2, "")
    assert "exists already" in ran.err


def test_verbose_logs_to_stderr(command: Any, folder: Path) -> None:
    ran = command(*RUN, "-v", "--report-json", "-")
    assert ran.code == 0
    json.loads(ran.out)


def test_a_report_on_stdout_is_all_there_is(command: Any, folder: Path) -> None:
    ran = command(*RUN, "--report-json", "-")
    assert (ran.code, ran.err) == (0, "")
    report = json.loads(ran.out)
    assert report["schema"] == "onnx-pare/report/1"
    assert report["output"]["path"] == "net.r.onnx"
    assert report["output"]["sha256"] == hashlib.sha256(Path("net.r.onnx").read_bytes()).hexdigest()


def test_a_report_in_a_file(command: Any, folder: Path) -> None:
    Path("r.json").write_text("the last one")
    ran = command(*RUN, "--report-json", "r.json", "--seed", "5", "-o", "out put.onnx")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("report   r.json\n")
    report = json.loads(Path("r.json").read_text())
    assert report["seed"] == 5
    assert report["command"] == (
        "optimize net.onnx -c r.yaml --report-json r.json --seed 5 -o 'out put.onnx'"
    )


# --- what only looks ----------------------------------------------------------------------------------------


def test_a_dry_run_checks_all_and_writes_nothing(command: Any, folder: Path) -> None:
    np.savez("val.npz", x=np.eye(16, dtype=np.float32)[:4], y=np.arange(4))
    before = names(folder)
    run = (*RUN, "--dry-run", "--eval", "val.npz", "--gate", "top1_drop<=0.01", "--report-json", "r.json")
    ran = command(*run, "--set", "benchmark.profiles=[local]", "--batch", "3")
    assert (ran.code, ran.err) == (0, "")
    facts = dict(line.split(maxsplit=1) for line in ran.out.splitlines() if not line.startswith("would"))
    assert facts == {
        "model": "net.onnx",
        "recipe": "r.yaml",
        "passes": "quantize_int8",
        "input": "x 3x16",
        "calibration": "4 from synthetic (seed 0)",
        "labelled": "4 from val.npz",
        "benchmark": "local (measured)",
        "gates": "top1_drop<=0.01",
    }
    assert "would write  net.r.onnx, r.json\n" in ran.out
    assert names(folder) == before


def test_a_printed_recipe_loads_to_the_same(command: Any, folder: Path) -> None:
    flags = ("--set", "passes.quantize_int8.percentile=99.5", "--gate", "size_ratio<=0.5", "--threads", "2")
    ran = command(*RUN, *flags, "--print-recipe")
    assert (ran.code, ran.err) == (0, "")
    Path("printed.yaml").write_text(ran.out)
    again = command("optimize", "net.onnx", "-c", "printed.yaml", "--print-recipe")
    assert again.out == ran.out
    recipe = load_recipe("printed.yaml")
    assert recipe.benchmark.threads == 2
    assert recipe.gates == ("size_ratio<=0.5",)
    assert names(folder) == {"net.onnx", "r.yaml", "printed.yaml"}


def test_a_recipe_can_be_printed_without_a_model(command: Any) -> None:
    ran = command("optimize", "-c", "int8", "--print-recipe")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("version: 1\n")


def test_pare_optimize_is_the_same_command(command: Any, folder: Path) -> None:
    assert command("pare", *RUN).code == 0
    assert (
        command("optimize", "--help").out.split("\n", 1)[1]
        == (command("pare", "optimize", "--help").out.split("\n", 1)[1])
    )
