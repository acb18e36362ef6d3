from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import onnx
import onnx.helper
import pytest

from .conftest import Command

RECIPE = """version: 1
calibration: {samples: 2}
passes: [{quantize_fp16: {storage_only: true, min_elements: 1}}]
benchmark: {profiles: []}
"""
OPTIMIZE = (sys.executable, "-c", "from onnx_pare.cli.main import optimize; optimize()")


def net(path: Path, width: int = 16) -> Path:
    """Write a network; another width is another model."""
    weight = onnx.helper.make_tensor("w", 1, [width, 8], [i / 100 for i in range(width * 8)])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1, width])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 8])],
        [weight],
    )
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def endless(path: Path) -> Path:
    """Write a model that never ends: a loop until a sum is infinite, which it never is."""
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[4] x) => (float[4] y) {
        n = Constant<value = int64 {9223372036854775807}>()
        go = Constant<value = bool {1}>()
        y = Loop(n, go, x)<body = b (int64 i, bool c, float[4] s) => (bool d, float[4] t) {
            t = Abs(s) m = ReduceMax<keepdims = 0>(t) e = IsInf(m) d = Not(e)
        }>
    }"""
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return path


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with a recipe and a zoo of three models, one of them broken."""
    net(tmp_path / "zoo" / "a.onnx", 16)
    net(tmp_path / "zoo" / "deep" / "b.onnx", 17)
    (tmp_path / "zoo" / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "r.yaml").write_text(RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def journal(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_folder_is_mirrored(command: Command, zoo: Path) -> None:
    ran = command("optimize", "zoo", "-c", "r.yaml", "-o", "out", "--jobs", "2")
    assert ran.code == 4
    assert "failed   1  (input 1)" in ran.out
    assert "input: broken.onnx: zoo/broken.onnx: not an ONNX file" in ran.out
    assert "\x1b" not in ran.out + ran.err
    lines = {line["model"]: line for line in journal(zoo / "out")}
    assert {name: line["status"] for name, line in lines.items()} == {
        "a.onnx": "ok",
        "broken.onnx": "failed",
        "deep/b.onnx": "ok",
    }
    for name in ("a.onnx", "deep/b.onnx"):
        report = json.loads((zoo / "out" / str(lines[name]["report"])).read_text(encoding="utf-8"))
        assert report["schema"] == "onnx-pare/report/1"
        assert report["model"]["path"] == f"zoo/{name}"
        assert report["output"]["path"] == f"out/{name}"
        onnx.checker.check_model(onnx.load(zoo / "out" / name))
    summary = json.loads((zoo / "out" / "summary.json").read_text(encoding="utf-8"))
    assert (summary["schema"], summary["ok"], summary["failed"]) == ("onnx-pare/summary/1", 2, 1)


def test_a_second_run_does_nothing(command: Command, zoo: Path) -> None:
    arguments = ("optimize", "zoo", "-c", "r.yaml", "-o", "out")
    command(*arguments)
    before = (zoo / "out" / "journal.jsonl").read_bytes()
    ran = command(*arguments)
    assert ran.code == 4
    assert "models   3 (3 unchanged since an earlier run)" in ran.out
    assert (zoo / "out" / "journal.jsonl").read_bytes() == before
    assert command(*arguments, "--no-resume").code == 4
    assert len(journal(zoo / "out")) == 6


def test_the_summary_as_json(command: Command, zoo: Path) -> None:
    ran = command("optimize", "zoo", "-c", "r.yaml", "-o", "out", "--report-json", "-")
    assert json.loads(ran.out) == json.loads((zoo / "out" / "summary.json").read_text(encoding="utf-8"))


def test_quiet_says_what_failed(command: Command, zoo: Path) -> None:
    ran = command("optimize", "zoo", "-c", "r.yaml", "-o", "out", "-q")
    assert (ran.code, ran.out) == (4, "")
    [line] = ran.err.splitlines()
    assert "broken.onnx: input: zoo/broken.onnx: not an ONNX file" in line


def test_all_well_is_0_and_a_gate_not_met_is_1(command: Command, zoo: Path) -> None:
    arguments = ("optimize", "zoo/a.onnx", "zoo/deep/b.onnx", "-c", "r.yaml", "-o", "out")
    assert command(*arguments).code == 0
    assert command(*arguments, "--gate", "size_ratio<=0.01").code == 1


@pytest.mark.parametrize("flags", [("-q",), ("--report-json", "-")])
def test_models_that_do_not_meet_their_gates_are_named(
    command: Command, zoo: Path, flags: tuple[str, ...]
) -> None:
    (zoo / "zoo" / "broken.onnx").unlink()
    ran = command("optimize", "zoo", "-c", "r.yaml", "-o", "out", "--gate", "size_bytes<=1", *flags)
    assert ran.code == 1
    assert "ok      a.onnx  gate not met, " in ran.err
    again = command("optimize", "zoo", "-c", "r.yaml", "-o", "out", "--gate", "size_bytes<=1", "-q")
    assert (again.code, again.err.count("gate not met")) == (1, ran.err.count("gate not met"))


# --- JUnit --------------------------------------------------------------------------------------------------

JUNIT = ("--report-junit", "j.xml")


def suites(path: str = "j.xml") -> dict[str, list[str]]:
    """Return what is wrong or left out in the suite of each model."""
    found = ElementTree.parse(path).getroot()
    marks = ("failure", "error", "skipped")
    return {suite.attrib["name"]: [one.tag for one in suite.iter() if one.tag in marks] for suite in found}


def test_a_suite_for_every_model(command: Command, zoo: Path) -> None:
    run = ("optimize", "zoo", "-c", "r.yaml", "-o", "out", "-q", *JUNIT)
    assert command(*run, "--gate", "size_bytes<=1").code == 4
    first = Path("j.xml").read_bytes()
    assert suites() == {"a.onnx": ["failure"], "broken.onnx": ["error"], "deep/b.onnx": ["failure"]}
    assert command(*run, "--gate", "size_bytes<=1").code == 4
    assert Path("j.xml").read_bytes() == first, "a batch that does nothing reports what was done"


def test_a_report_that_was_lost_is_an_error_of_its_model(command: Command, zoo: Path) -> None:
    run = ("optimize", "zoo", "-c", "r.yaml", "-o", "out", "-q", *JUNIT)
    assert command(*run).code == 4
    (zoo / "out" / "a.onnx.report.json").unlink()
    (zoo / "out" / "deep" / "b.onnx.report.json").write_text("[]")
    assert command(*run).code == 4
    assert suites() == {"a.onnx": ["error"], "broken.onnx": ["error"], "deep/b.onnx": ["error"]}


def test_a_batch_that_does_not_begin(command: Command, zoo: Path) -> None:
    assert command("optimize", "zoo", "-c", "none", "-o", "out", *JUNIT).code == 2
    assert suites() == {"zoo": ["error"]}
    (error,) = ElementTree.parse("j.xml").iter("error")
    assert error.attrib["message"] == "'none': no such recipe"


def test_the_reports_of_the_last_batch_as_baselines(command: Command, zoo: Path) -> None:
    (zoo / "zoo" / "broken.onnx").unlink()
    run = ("optimize", "zoo", "-c", "r.yaml", "-q")
    assert command(*run, "-o", "old").code == 0
    gate = ("--gate", "size_bytes<=baseline", "--baseline", "old")
    assert command(*run, "-o", "new", *gate).code == 0
    (zoo / "old" / "a.onnx.report.json").unlink()
    ran = command(*run, "-o", "new", *gate, *JUNIT)
    assert (ran.code, suites()) == (4, {"a.onnx": ["error"], "deep/b.onnx": []})
    assert "old/a.onnx.report.json: no such file" in ran.err


# ------------------------------------------------------------------------------------------------------------


def test_a_list_from_stdin(command: Command, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("zoo/a.onnx\n\nzoo/deep/b.onnx\n"))
    assert command("optimize", "-", "-c", "r.yaml", "-o", "out").code == 0
    assert [line["model"] for line in journal(zoo / "out")] == ["a.onnx", "deep/b.onnx"]


def test_a_manifest(command: Command, zoo: Path) -> None:
    (zoo / "zoo.yaml").write_text(
        "version: 1\nmodels:\n"
        '  - {match: "zoo/*", recipe: r.yaml}\n'
        "  - {match: zoo/broken.onnx, skip: known to be broken}\n",
        encoding="utf-8",
    )
    ran = command("optimize", "--manifest", "zoo.yaml", "-o", "out")
    assert ran.code == 0
    assert {line["model"]: line["status"] for line in journal(zoo / "out")} == {
        "zoo/a.onnx": "ok",
        "zoo/broken.onnx": "skipped",
        "zoo/deep/b.onnx": "ok",
    }


def test_the_same_bytes_as_alone(command: Command, zoo: Path) -> None:
    command("optimize", "zoo", "-c", "r.yaml", "-o", "out", "--jobs", "2")
    assert command("optimize", "zoo/a.onnx", "-c", "r.yaml", "-o", "alone.onnx").code == 0
    assert (zoo / "alone.onnx").read_bytes() == (zoo / "out" / "a.onnx").read_bytes()


def test_a_dry_run_writes_nothing(command: Command, zoo: Path) -> None:
    ran = command("optimize", "zoo", "-c", "r.yaml", "-o", "out", "--dry-run")
    assert ran.code == 0
    assert "zoo/deep/b.onnx → out/deep/b.onnx  (r.yaml)" in ran.out
    assert not (zoo / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("zoo", "-c", "r.yaml"), "a batch needs an output folder"),
        (("zoo/a.onnx", "-c", "r.yaml", "--jobs", "2"), "a batch needs an output folder"),
        (("zoo", "-o", "out"), "no recipe given"),
        (("zoo", "-c", "r.yaml", "-o", "zoo"), "all models lie in the output folder"),
        (("zoo", "-c", "r.yaml", "-o", "r.yaml"), "is a file; the output of a batch is a folder"),
        (
            ("zoo", "-c", "r.yaml", "-o", "out", "--memory-limit", "much"),
            "--memory-limit much: is not a size",
        ),
        (("zoo", "none.onnx", "-c", "r.yaml", "-o", "out"), "none.onnx: no such file or folder"),
        (("-o", "out", "-c", "r.yaml", "--jobs", "2"), "no model given"),
        (("--manifest", "none.yaml", "-o", "out"), "none.yaml: no such file"),
        (("zoo", "-c", "r.yaml", "-o", "out", "--report-json", "no/x.json"), "no: no such folder"),
    ],
)
def test_wrong_usage_writes_nothing(
    command: Command, zoo: Path, arguments: tuple[str, ...], message: str
) -> None:
    ran = command("optimize", *arguments)
    assert ran.code == 2
    assert message in ran.err
    assert not (zoo / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
def test_a_model_that_never_ends(command: Command, zoo: Path) -> None:
    endless(zoo / "zoo" / "endless.onnx")
    ran = command("optimize", "zoo", "-c", "r.yaml", "-o", "out", "--timeout", "8", "--jobs", "2")
    assert ran.code == 4
    lines = {line["model"]: line for line in journal(zoo / "out")}
    assert (lines["endless.onnx"]["kind"], lines["endless.onnx"]["reason"]) == (
        "timeout",
        "did not end within 8 s",
    )
    assert [lines[name]["status"] for name in ("a.onnx", "deep/b.onnx")] == ["ok", "ok"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
def test_a_model_beyond_the_memory_limit(command: Command, zoo: Path) -> None:
    ran = command("optimize", "zoo/a.onnx", "-c", "r.yaml", "-o", "out", "--memory-limit", "20MB")
    assert ran.code == 4
    assert journal(zoo / "out")[0]["kind"] == "memory"
    assert command("optimize", "zoo/a.onnx", "-c", "r.yaml", "-o", "out", "--memory-limit", "4G").code == 0


def started(zoo: Path) -> subprocess.Popen[str]:
    """Return a batch that has done all but a model that never ends; its temporary files lie in `tmp`."""
    endless(zoo / "zoo" / "z.onnx")
    (zoo / "tmp").mkdir()
    process = subprocess.Popen(
        [*OPTIMIZE, "zoo", "-c", "r.yaml", "-o", "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(zoo / "tmp")},
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (zoo / "out" / "deep" / "b.onnx").exists():
        time.sleep(0.05)
    time.sleep(1)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_batch_goes_on_later(command: Command, zoo: Path, number: int, code: int) -> None:
    process = started(zoo)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == code
    assert "3 of 4 models are recorded; run the same command again to go on" in complaint
    assert "Traceback" not in complaint
    assert list((zoo / "tmp").iterdir()) == []
    (zoo / "zoo" / "z.onnx").unlink()
    ran = command("optimize", "zoo", "-c", "r.yaml", "-o", "out")
    assert "models   3 (3 unchanged since an earlier run)" in ran.out


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_the_next_run_clears_what_a_killed_one_left(command: Command, zoo: Path) -> None:
    process = started(zoo)
    process.kill()
    process.communicate(timeout=60)
    (left,) = (zoo / "tmp").iterdir()
    assert left.name.startswith("onnx-pare-")
    (zoo / "zoo" / "z.onnx").unlink()
    assert command("optimize", "zoo", "-c", "r.yaml", "-o", "out").code == 4
    assert list((zoo / "tmp").iterdir()) == []


def test_two_runs_on_one_folder(command: Command, zoo: Path) -> None:
    endless(zoo / "zoo" / "a.onnx")
    process = subprocess.Popen(
        [*OPTIMIZE, "zoo", "-c", "r.yaml", "-o", "out"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (zoo / "out" / "journal.jsonl").exists():
            time.sleep(0.05)
        ran = command("optimize", "zoo", "-c", "r.yaml", "-o", "out")
        assert ran.code == 2
        assert f"error: out: is in use by process {process.pid}" in ran.err
    finally:
        process.kill()
        process.wait()
