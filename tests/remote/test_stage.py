from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from onnx_pare.errors import ModelError, OutputError
from onnx_pare.graph.load import load_model
from onnx_pare.remote.stage import shared_data, staged
from tests.stores import net


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let temporary files lie in a folder of the test, and hold that they are gone in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def test_local_files_are_used_where_they_are(scratch: Path) -> None:
    with staged() as stage:
        assert stage.model("a/m.onnx") == Path("a/m.onnx")
        assert stage.data("file:///d/x.npz") == Path("/d/x.npz")
        assert stage.output("m.int8.onnx", overwrite=False) == Path("m.int8.onnx")
        stage.publish()
        assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("location", ["", "net.data", "weights/w 1.bin"])
def test_a_model_comes_with_its_external_data(memory: Any, location: str) -> None:
    content, weights = net(location)
    memory.pipe("/zoo/net.onnx", content)
    if location:
        memory.pipe(f"/zoo/{location}", weights)
    with staged() as stage:
        path = stage.model("memory://zoo/net.onnx")
        assert path.name == "net.onnx"
        assert load_model(path).graph.initializers["w"].const_value.nbytes == 48
    assert not path.exists()


def test_external_data_of_web_addresses(web: Any) -> None:
    content, weights = net("w 1.bin")
    (web.folder / "net.onnx").write_bytes(content)
    (web.folder / "w 1.bin").write_bytes(weights)
    with staged() as stage:
        load_model(stage.model(web.url + "net.onnx?key=1"))
    assert "GET /w%201.bin?key=1" in web.asked


@pytest.mark.parametrize("location", ["../other/w.bin", "/etc/passwd", "a/../../w.bin", "C:\\w.bin"])
def test_external_data_elsewhere_is_not_fetched(memory: Any, location: str) -> None:
    memory.pipe("/zoo/net.onnx", net(location)[0])
    memory.pipe("/other/w.bin", b"1" * 48)
    where = r"^memory://zoo/net.onnx: .* leaves the model's folder"
    with pytest.raises(ModelError, match=where), staged() as stage:
        load_model(stage.model("memory://zoo/net.onnx"))


def test_external_data_that_is_missing(memory: Any) -> None:
    memory.pipe("/zoo/net.onnx", net("w.bin")[0])
    with pytest.raises(ModelError, match=r"memory://zoo/w.bin: no such file"), staged() as stage:
        stage.model("memory://zoo/net.onnx")


def test_a_model_that_names_itself_as_its_data(memory: Any) -> None:
    memory.pipe("/zoo/net.onnx", net("net.onnx")[0])
    with staged() as stage:
        stage.model("memory://zoo/net.onnx")


def test_errors_name_the_url(memory: Any) -> None:
    memory.pipe("/zoo/net.onnx", b"no model")
    with pytest.raises(ModelError, match=r"^memory://zoo/net.onnx: not an ONNX file"), staged() as stage:
        load_model(stage.model("memory://zoo/net.onnx"))


def test_outputs_are_put_back(memory: Any) -> None:
    with staged() as stage:
        path = stage.output("memory://out/net.onnx", overwrite=False)
        path.write_bytes(b"model")
        (path.parent / "net.onnx.data").write_bytes(b"weights")
        unwritten = stage.output("memory://out/report.json", overwrite=False)
        assert memory.find("/") == []
        stage.publish()
    assert {name: memory.cat(name) for name in memory.find("/")} == {
        "/out/net.onnx": b"model",
        "/out/net.onnx.data": b"weights",
    }
    assert not unwritten.exists()


def test_weights_are_put_before_the_model(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(system: Any, source: str, target: str, **_: Any) -> None:
        raise PermissionError(target)

    monkeypatch.setattr(type(memory), "put_file", refuse)
    with staged() as stage:
        path = stage.output("memory://out/net.onnx", overwrite=False)
        path.write_bytes(b"model")
        (path.parent / "net.onnx.data").write_bytes(b"weights")
        with pytest.raises(OutputError, match=r"memory://out/net.onnx.data: .*permission denied"):
            stage.publish()


def test_nothing_is_written_over_what_is_read(memory: Any) -> None:
    memory.pipe("/zoo/net.onnx", net("net.data")[0])
    memory.pipe("/zoo/net.data", net("net.data")[1])
    with staged() as stage:
        stage.model("memory://zoo/net.onnx")
        stage.output("memory://zoo/out.onnx", overwrite=True)
        for name, what in (("net.onnx", "input model"), ("net.data", "input model"), ("out.onnx", "another")):
            with pytest.raises(OutputError, match=what):
                stage.output(f"memory://zoo/{name}", overwrite=True)


def test_jobs_share_data(memory: Any) -> None:
    memory.pipe("/data/x.npz", b"1")
    with shared_data() as cache:
        with staged(cache) as stage:
            first = stage.data("memory://data/x.npz")
        assert first.exists()
        with staged(cache) as stage:
            assert stage.data("memory://data/x.npz") == first
