"""Runs what docs/ci.md gives people to copy, the script and the workflow, on the demo's model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CI = ROOT / "docs" / "ci"
DEMO = ROOT / "core" / "demo"
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
SCRIPT = ("sh", "ci/check-model.sh", "models/digits.onnx", "models/int8.yaml", "optimized")
BASELINE = "baseline/report.json"
# the package under test is installed already; another one from an index would be tested instead of it
INSTALL = "python -m pip install onnx-pare"
MAIN = "github.ref == 'refs/heads/main'"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder: a repository as docs/ci.md wants it, its recipe quick to run."""
    (tmp_path / "ci").mkdir()
    shutil.copy(CI / "check-model.sh", tmp_path / "ci")
    shutil.copytree(DEMO, tmp_path / "models", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    recipe = (DEMO / "int8.yaml").read_text()
    quick = recipe.replace("samples: 128", "samples: 8").replace("[local]}", "[local], runs: 3}")
    (tmp_path / "models" / "int8.yaml").write_text(quick)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def ran(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=os.environ | environment, timeout=300
    )


def gates() -> list[str]:
    return [gate["expr"] for gate in json.loads(Path("optimized/report.json").read_text())["gates"]]


def failures(kind: str) -> list[str]:
    """Return the cases of the JUnit report that hold a `failure` or an `error`."""
    root = ET.parse("optimized/junit.xml")
    return [case.attrib["name"] for case in root.iter("testcase") if case.find(kind) is not None]


# --- the script ---------------------------------------------------------------------------------------------


def test_the_script_from_release_to_release(repository: Path) -> None:
    first = ran(*SCRIPT, BASELINE)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.endswith("check-model: models/digits.onnx is ready to ship\n")
    assert {path.name for path in Path("optimized").iterdir()} == {
        "model.onnx", "report.json", "junit.xml", "summary.txt",
    }  # fmt: skip
    assert gates() == ["top1_drop<=0.01", "size_ratio<=0.5"]
    assert failures("failure") == failures("error") == []

    shutil.copytree("optimized", "baseline")
    second = ran(*SCRIPT, BASELINE, "--gate", "latency_ms<=1000*baseline")
    assert second.returncode == 0, second.stdout
    compared = ["size_bytes<=1.05*baseline", "sqnr_db>=baseline-1", "top1_drop<=baseline+0.005"]
    assert gates()[2:] == ["latency_ms<=1000*baseline", *compared]

    worse = ran(*SCRIPT, BASELINE, "--set", "passes=[simplify]", CHECK_LATENCY="1")
    assert worse.returncode == 1
    assert gates()[-1] == "latency_ms[local]<=1.05*baseline"
    assert "was written, but is not good enough" in worse.stdout
    assert failures("failure")[:2] == ["gate size_ratio<=0.5", "gate size_bytes<=1.05*baseline"]


def test_the_script_when_something_is_wrong(repository: Path) -> None:
    Path("optimized").mkdir()
    Path("optimized/report.json").write_text("of yesterday")
    Path("models/digits.onnx").write_bytes(b"\x08")
    broken = ran(*SCRIPT, BASELINE)
    assert (broken.returncode, broken.stderr) == (2, "")
    assert broken.stdout.startswith("error: models/digits.onnx: ")
    assert failures("error") == ["run"]
    assert not Path("optimized/report.json").exists()
    assert ran(*SCRIPT[:4]).returncode == 2


# --- the workflow -------------------------------------------------------------------------------------------


def workflow() -> Any:
    return yaml.safe_load((CI / "github-workflow.yml").read_text(encoding="utf-8"))


def steps(environment: Mapping[str, str], *, main: bool) -> dict[str, int]:
    """Run the `run` steps of the workflow as GitHub does, and return their exit codes by name.

    What `uses` an action is left out: those check out, set up Python and keep files, which is done here.
    """
    done: dict[str, int] = {}
    for step in workflow()["jobs"]["check"]["steps"]:
        condition = step.get("if", "success()")
        assert condition in ("success()", "always()", MAIN)
        skipped = "run" not in step or step["run"] == INSTALL or (condition == MAIN and not main)
        if skipped or (condition != "always()" and any(done.values())):
            continue
        assert "${{" not in step["run"], "expressions in a script are an injection; pass them by env"
        Path("step.sh").write_text(step["run"])
        done[step["name"]] = ran("bash", "-e", "step.sh", **environment).returncode
    return done


def test_the_workflow_from_commit_to_commit(repository: Path) -> None:
    environment = {**workflow()["env"], "GITHUB_STEP_SUMMARY": "shown.md"}
    good = {"Check": 0, "Show the summary": 0}
    assert steps(environment, main=False) == good
    assert not Path("baseline").exists()
    assert "top-1 " in Path("shown.md").read_text()
    assert steps(environment, main=True) == {**good, "Make this report the next baseline": 0}
    before = Path(BASELINE).read_bytes()
    assert "onnx-pare/report/1" in before.decode()
    worse = Path("models/int8.yaml").read_text().replace("  - quantize_int8\n", "")
    Path("models/int8.yaml").write_text(worse)
    assert steps(environment, main=True) == {"Check": 1, "Show the summary": 0}
    assert Path(BASELINE).read_bytes() == before


def test_the_workflow_is_one_that_github_reads() -> None:
    found = workflow()
    assert set(found) == {"name", True, "permissions", "env", "jobs"}  # YAML 1.1 takes `on` for true
    (job,) = found["jobs"].values()
    assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    assert all(re.fullmatch(r"[\w/-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)
    assert [step["run"] for step in job["steps"] if "pip" in step.get("run", "")] == [INSTALL]
    kept = [step["with"]["path"] for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert kept == [found["env"]["OUT"]]


def test_the_job_for_gitlab_calls_the_same_script() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (job,) = yaml.safe_load(text).values()
    assert job["script"] == [INSTALL, " ".join((*SCRIPT, BASELINE))]
    assert job["artifacts"]["reports"]["junit"] == "optimized/junit.xml"
    assert job["cache"]["paths"] == [str(Path(BASELINE).parent)]


# --- the page -----------------------------------------------------------------------------------------------


def test_the_gates_on_the_page_can_be_read() -> None:
    from onnx_pare.pipeline.conditions import read_gate

    table = PAGE.partition("## Gates")[2].partition("\n\nPut ")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.M)
    found = [expr for cell in cells for expr in re.findall(r"`(.*?)`", cell)]
    assert len([read_gate(expr) for expr in found]) >= 9


def test_the_pipe_on_the_page_works(repository: Path) -> None:
    (line,) = re.findall(r"^    (pare inspect .*\| .*)$", PAGE, re.M)
    done = ran("bash", "-euo", "pipefail", "-c", line.replace("model.onnx", "models/digits.onnx"))
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 1_000_000
