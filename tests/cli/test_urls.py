"""Commands on models and data that lie elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnx_pare.remote import store
from tests.stores import net


@pytest.fixture
def zoo(memory: Any, folder: Path) -> Any:
    """Return a store with the classifier, and calibration and labelled data for it."""
    memory.pipe("/zoo/net.onnx", Path("net.onnx").read_bytes())
    x = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    np.savez("data.npz", x=x, y=np.zeros(8, np.int64))
    memory.pipe("/data/data.npz", Path("data.npz").read_bytes())
    for name in ("net.onnx", "data.npz"):
        Path(name).unlink()
    return memory


NET = "memory://zoo/net.onnx"
RUN = ("optimize", NET, "-c", "r.yaml")
DATA = ("--calibration", "memory://data/data.npz", "--eval", "memory://data/data.npz")


def test_a_run_from_store_to_store(command: Any, zoo: Any) -> None:
    ran = command(*RUN, "-o", "memory://out/net.onnx", *DATA, "--report-json", "memory://out/r.json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("written  memory://out/net.onnx\nreport   memory://out/r.json\n")
    assert onnx.load_from_string(zoo.cat("/out/net.onnx")).graph.node
    report = json.loads(zoo.cat("/out/r.json"))
    assert report["model"]["path"] == "memory://zoo/net.onnx"
    assert report["output"]["path"] == "memory://out/net.onnx"
    assert report["calibration"] == {"source": "memory://data/data.npz", "samples": 4, "random": False}
    assert report["recipe"]["evaluation"]["data"] == "memory://data/data.npz"
    assert report["accuracy"]["samples"] == 8
    assert "onnx-pare-stage" not in json.dumps(report) + ran.out


def test_the_result_lies_beside_the_model(command: Any, zoo: Any) -> None:
    assert command(*RUN).code == 0
    assert zoo.find("/zoo") == ["/zoo/net.onnx", "/zoo/net.r.onnx"]
    ran = command(*RUN)
    assert (ran.code, ran.err.splitlines()[0]) == (2, "error: memory://zoo/net.r.onnx: exists already")
    assert command(*RUN, "--overwrite").code == 0


def test_the_same_bytes_as_from_a_local_file(command: Any, zoo: Any) -> None:
    zoo.get_file("/zoo/net.onnx", "local.onnx")
    zoo.get_file("/data/data.npz", "local.npz")
    assert command("optimize", "local.onnx", "-c", "r.yaml", "--calibration", "local.npz").code == 0
    assert command(*RUN, *DATA).code == 0
    assert zoo.cat("/zoo/net.r.onnx") == Path("local.r.onnx").read_bytes()


def test_data_of_a_recipe(command: Any, zoo: Any) -> None:
    text = Path("r.yaml").read_text()
    Path("r.yaml").write_text(text.replace("{samples: 4}", "{samples: 4, data: 'memory://data/data.npz'}"))
    ran = command(*RUN, "-o", "out.onnx", "--report-json", "r.json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(Path("r.json").read_text())["calibration"]["source"] == "memory://data/data.npz"


def test_file_urls_are_local_paths(command: Any, zoo: Any, folder: Path) -> None:
    zoo.get_file("/zoo/net.onnx", "net.onnx")
    ran = command("optimize", f"file://{folder}/net.onnx", "-c", "r.yaml", "-o", f"file://{folder}/o.onnx")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(f"written  {folder}/o.onnx\n")


def test_a_plan_names_urls(command: Any, zoo: Any) -> None:
    ran = command(*RUN, *DATA, "--dry-run")
    assert "model        memory://zoo/net.onnx\n" in ran.out
    assert "would write  memory://zoo/net.r.onnx\n" in ran.out
    assert zoo.find("/zoo") == ["/zoo/net.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("optimize", "memory://zoo/none.onnx", "-c", "r.yaml"), "memory://zoo/none.onnx: no such file"),
        ((*RUN, "-o", "memory://zoo/net.onnx", "--overwrite"), "memory://zoo/net.onnx: is the input model"),
        ((*RUN, "-o", "memory://o", "--report-json", "memory://o"), "memory://o: is another output"),
        ((*RUN, "-o", "https://u:secret@h/m.onnx"), "https://***@h/m.onnx: a web server takes no files"),
        ((*RUN, "--calibration", "memory://none"), "memory://none: no such file or folder"),
        (("pare", "inspect", "memory://data/data.npz"), "memory://data/data.npz: not an ONNX file"),
        (("pare", "bench", "memory://data"), "memory://data: no *.onnx file there"),
        (("pare", "bench", "memory://zoo/*.x"), "memory://zoo/*.x: no *.onnx file matches"),
        (
            ("pare", "inspect", NET, "--json", NET),
            "is the model itself",
        ),
    ],
)
def test_what_cannot_be_used(command: Any, zoo: Any, arguments: tuple[str, ...], message: str) -> None:
    ran = command(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err.splitlines()[0]
    assert "secret" not in ran.err
    assert zoo.find("/") == ["/data/data.npz", "/zoo/net.onnx"]


def test_reports_hold_no_secrets(command: Any, zoo: Any) -> None:
    zoo.pipe("/me:secret@data/data.npz", zoo.cat("/data/data.npz"))
    data = "memory://me:secret@data/data.npz"
    ran = command(*RUN, "--calibration", data, "--eval", data, "--report-json", "-", "-v")
    report = json.loads(ran.out)
    assert "--calibration 'memory://***@data/data.npz'" in report["command"]
    assert report["calibration"]["source"] == "memory://***@data/data.npz"
    assert "secret" not in ran.out + ran.err


def test_inspect(command: Any, zoo: Any) -> None:
    ran = command("pare", "inspect", "memory://zoo/net.onnx", "--json", "memory://out/i.json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(zoo.cat("/out/i.json"))["totals"]["macs"] == 16 * 32 + 32 * 5


def test_bench(command: Any, zoo: Any) -> None:
    ran = command("pare", "bench", "memory://zoo", "--runs", "1", "--json", "-")
    assert (ran.code, ran.err) == (0, "")
    assert [row["model"] for row in json.loads(ran.out)["results"]] == ["memory://zoo/net.onnx"]


def test_compare(command: Any, zoo: Any) -> None:
    model, data = "memory://zoo/net.onnx", "memory://data/data.npz"
    ran = command("pare", "compare", model, model, "--labels", data, "--runs", "1")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"A  {model}\n")
    assert f"on 8 samples: {data}\n" in ran.out


@pytest.fixture
def batch(zoo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Return a batch of three models in a store, one of them broken, into another folder of it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    zoo.pipe("/zoo/deep/b.onnx", zoo.cat("/zoo/net.onnx"))
    zoo.pipe("/zoo/broken.onnx", b"no model")
    return ("optimize", "memory://zoo/", "-c", "r.yaml", "-o", "memory://out", "--jobs", "2")


def test_a_batch_from_store_to_store(command: Any, zoo: Any, batch: tuple[str, ...]) -> None:
    ran = command(*batch, *DATA, "--report-junit", "junit.xml")
    assert ran.code == 4
    assert "input: memory://zoo/broken.onnx: not an ONNX file" in ran.err
    assert ran.out.endswith("written  memory://out\n")
    outputs = ["net.onnx", "deep/b.onnx"]
    reports = [f"{name}.report.json" for name in outputs]
    assert zoo.find("/out") == sorted(
        f"/out/{name}" for name in (*outputs, *reports, "journal.jsonl", "summary.json")
    )
    assert json.loads(zoo.cat("/out/net.onnx.report.json"))["accuracy"]["samples"] == 8
    assert 'tests="' in Path("junit.xml").read_text()
    again = command(*batch, *DATA)
    assert "3 unchanged since an earlier run" in again.out
    status = command("pare", "zoo", "status", "memory://out", "--json", "-")
    assert json.loads(status.out) == json.loads(zoo.cat("/out/summary.json")) | {"unchanged": 0}


def test_what_has_not_changed_is_not_fetched(
    command: Any, zoo: Any, batch: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, weights = net("deep/w.bin")
    zoo.pipe("/zoo/apart.onnx", content)
    zoo.pipe("/zoo/deep/w.bin", weights)
    assert command(*batch).code == 4
    fetched = []
    fetch = store.fetch
    monkeypatch.setattr(store, "fetch", lambda url, *more: (fetched.append(url), fetch(url, *more)))
    assert "4 unchanged" in command(*batch).out
    apart = [
        "memory://zoo/apart.onnx",
        "memory://zoo/deep/w.bin",
    ]  # its store says nothing of the two together
    assert sorted(fetched) == apart
    zoo.pipe("/zoo/net.onnx", zoo.cat("/zoo/net.onnx"))
    assert "4 unchanged" in command(*batch).out
    assert sorted(fetched[2:]) == [*apart, NET]
    assert "unchanged" not in command(*batch, "--seed", "1").out


def test_a_batch_goes_on_on_another_machine(
    command: Any, zoo: Any, batch: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(*batch).code == 4
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another"))
    zoo.rm("/out/net.onnx")
    assert "2 unchanged since an earlier run" in command(*batch).out
    assert "/out/net.onnx" in zoo.find("/out")


def test_outputs_of_others_are_kept(command: Any, zoo: Any, batch: tuple[str, ...]) -> None:
    zoo.pipe("/out/net.onnx", b"of others")
    assert "memory://out/net.onnx: exists already; add --overwrite" in command(*batch).err
    assert zoo.cat("/out/net.onnx") == b"of others"
    assert "output" not in command(*batch, "--overwrite").err


def test_only_copies_are_verified(command: Any) -> None:
    ran = command("pare", "zoo", "verify", "s3://bucket/out")
    assert (ran.code, ran.err.splitlines()[0]) == (2, "error: s3://bucket/out: is not local")
