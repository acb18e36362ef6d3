from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from onnx_pare.errors import OutputError
from onnx_pare.pipeline.outputs import check_outputs
from onnx_pare.pipeline.plan import Job
from onnx_pare.pipeline.recipe import load_recipe

NET = """<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y)
{ y = Add(x, w) }"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Return a job on a model with external data, with a recipe and data of its own."""
    monkeypatch.chdir(tmp_path)
    proto = onnx.parser.parse_model(NET)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    onnx.save(proto, "net.onnx", save_as_external_data=True, location="w", size_threshold=0)
    for name in ("cal.npz", "val.npz", "old.json"):
        Path(name).touch()
    Path("r.yaml").write_text("{version: 1, passes: [simplify], calibration: {data: cal.npz}}")
    recipe = load_recipe("r.yaml", ["evaluation.data=val.npz"])
    files = {"output": Path("out.onnx"), "also_writes": (Path("report.json"),), "baseline": Path("old.json")}
    return Job(Path("net.onnx"), recipe, overwrite=True, **files)


def test_new_files_in_a_folder_that_takes_them(job: Job) -> None:
    before = sorted(Path().iterdir())
    check_outputs(job)
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("name", ["net.onnx", "w", "r.yaml", "cal.npz", "val.npz", "old.json"])
def test_what_is_read_is_not_written(job: Job, name: str) -> None:
    link = Path("link")
    link.symlink_to(name)
    for path in (Path(name), Path("..", Path().resolve().name, name), link):
        with pytest.raises(OutputError, match=": is "):
            check_outputs(replace(job, output=path))
        with pytest.raises(OutputError, match=": is "):
            check_outputs(replace(job, also_writes=(path,)))


@pytest.mark.parametrize("name", ["out.onnx", "./out.onnx", "out.onnx.data"])
def test_two_outputs_at_one_place(job: Job, name: str) -> None:
    with pytest.raises(OutputError, match=r"of the output|is the output"):
        check_outputs(replace(job, also_writes=(Path(name),)))


def test_two_reports_at_one_place(job: Job) -> None:
    with pytest.raises(OutputError, match=r"x\.xml: is another output"):
        check_outputs(replace(job, also_writes=(Path("x.xml"), Path(".", "x.xml"))))


def test_only_the_model_needs_leave_to_overwrite(job: Job) -> None:
    Path("report.json").touch()
    check_outputs(replace(job, overwrite=False))
    Path("out.onnx").touch()
    with pytest.raises(OutputError, match="exists already"):
        check_outputs(replace(job, overwrite=False))
