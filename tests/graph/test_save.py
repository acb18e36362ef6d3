"""Outputs are whole or not there at all, and equal models give equal files."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from onnx_pare.errors import OutputError
from onnx_pare.graph import save
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import (
    check_writable,
    data_file,
    publish,
    publish_text,
    same_file,
    serialize,
    weight_bytes,
    write_model,
)
from onnx_pare.graph.session import Session

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[2,64] x, bool c) => (float[2,64] y) {
        h = MatMul(x, w)
        y = If (c) <then_branch = t () => (float[2,64] a) { a = MatMul(h, v) },
                    else_branch = e () => (float[2,64] b) { b = Add(h, w_bias) }>
    }"""


def build(folder: Path, *, external: bool = False) -> ir.Model:
    """Return a model with weights above 1 KiB in the main graph and in a branch."""
    proto = onnx.parser.parse_model(TEXT)
    rng = np.random.default_rng(0)
    branch = proto.graph.node[1].attribute[0].g
    for graph, name, shape in (
        (proto.graph, "w", (64, 64)),
        (proto.graph, "w_bias", (64,)),
        (branch, "v", (64, 64)),
    ):
        graph.initializer.append(
            onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        )
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    onnx.save(proto, path, save_as_external_data=external, location="weights.bin", size_threshold=0)
    return load_model(path)


def run(path: Path, *, branch: bool = True) -> np.ndarray:
    x = np.ones((2, 64), np.float32)
    (y,) = Session(path).run({"x": x, "c": np.array(branch)})
    return np.asarray(y)


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    first, second = build(tmp_path / "a"), build(tmp_path / "b", external=True)
    assert serialize(first) == serialize(build(tmp_path / "a"))
    write_model(first, tmp_path / "1.onnx")
    write_model(second, tmp_path / "2.onnx")
    assert (tmp_path / "1.onnx").read_bytes() == (tmp_path / "2.onnx").read_bytes()
    assert weight_bytes(first) == (64 * 64 * 2 + 64) * 4


@pytest.mark.parametrize("external", [False, True])
def test_large_models_get_a_data_file(
    external: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(tmp_path / "source", external=external)
    expected = [run(tmp_path / "source" / "m.onnx", branch=branch) for branch in (True, False)]
    monkeypatch.setattr(save, "INLINE_LIMIT_BYTES", 1000)
    scratch, target = tmp_path / "scratch.onnx", tmp_path / "out" / "big.onnx"
    target.parent.mkdir()
    write_model(model, scratch)
    publish(scratch, target, overwrite=False)
    assert listing(target.parent) == {"big.onnx", "big.onnx.data"}
    scratch.unlink()
    data_file(scratch).unlink()
    for branch, y in zip((True, False), expected, strict=True):
        np.testing.assert_array_equal(run(target, branch=branch), y)
    load_model(target)


def test_large_constants_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[8] x) => (float[8] y) { y = Add(x, c) }'
    )
    tensor = onnx.numpy_helper.from_array(np.ones(8, np.float32))
    proto.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["c"], value=tensor))
    onnx.save(proto, tmp_path / "m.onnx")
    monkeypatch.setattr(save, "INLINE_LIMIT_BYTES", 10)
    with pytest.raises(OutputError, match="Constant nodes hold more"):
        write_model(load_model(tmp_path / "m.onnx"), tmp_path / "out.onnx")


def test_overwriting_only_when_asked(tmp_path: Path) -> None:
    build(tmp_path)
    target = tmp_path / "out.onnx"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already") as caught:
        publish(tmp_path / "m.onnx", target, overwrite=False)
    assert "--overwrite" in caught.value.hint
    assert target.read_bytes() == b"old"
    publish(tmp_path / "m.onnx", target, overwrite=True)
    assert target.read_bytes() == (tmp_path / "m.onnx").read_bytes()
    assert listing(tmp_path) == {"m.onnx", "out.onnx"}


def test_a_foreign_data_file_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save, "INLINE_LIMIT_BYTES", 1000)
    write_model(build(tmp_path / "source"), tmp_path / "m.onnx")
    (tmp_path / "out.onnx.data").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"out\.onnx\.data: exists already"):
        publish(tmp_path / "m.onnx", tmp_path / "out.onnx", overwrite=False)
    assert (tmp_path / "out.onnx.data").read_bytes() == b"mine"
    assert not (tmp_path / "out.onnx").exists()


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    build(tmp_path)
    before = os.umask(0o027)
    try:
        publish(tmp_path / "m.onnx", tmp_path / "out.onnx", overwrite=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.onnx").stat().st_mode) == 0o640


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for target, said in (
        (tmp_path / "folder", "is a folder"),
        (tmp_path / "fifo", "is not a regular file"),
        (tmp_path / "none" / "m.onnx", "no such folder"),
        (tmp_path / ("n" * 300), "name too long"),
    ):
        with pytest.raises(OutputError, match=f"(?i){said}"):
            check_writable(target, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file, not a folder"):
        check_writable(tmp_path / "file" / "m.onnx", overwrite=True)


def test_a_place_is_tried_out_and_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_writable(tmp_path / ("模" * 80), overwrite=True)
    assert not any(tmp_path.iterdir())

    def refused(path: Path, *_: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refused)
    with pytest.raises(OutputError, match="Read-only file system"):
        check_writable(tmp_path / "m.onnx", overwrite=True)


def test_an_end_between_two_steps_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch = Path.touch

    def touch_and_end(path: Path, mode: int, exist_ok: bool) -> None:
        touch(path, mode, exist_ok)
        assert list(tmp_path.iterdir()) == [path]
        raise SystemExit(143)

    monkeypatch.setattr(Path, "touch", touch_and_end)
    with pytest.raises(SystemExit):
        publish_text("text", tmp_path / "report.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.getuid() == 0, reason="root may write to read-only folders")
def test_read_only_folder(tmp_path: Path) -> None:
    build(tmp_path)
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    with pytest.raises(OutputError, match="Permission denied"):
        publish(tmp_path / "m.onnx", folder / "out.onnx", overwrite=False)


def child(body: str, *paths: Path) -> subprocess.Popen[str]:
    code = "import sys\nfrom pathlib import Path\nfrom onnx_pare.graph.save import *\n" + textwrap.dedent(
        body
    )
    command = [sys.executable, "-c", code, *map(str, paths)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("call", ["publish(a, b, overwrite=True)", "write_model(load_model(a), b)"])
def test_full_disk(call: str, tmp_path: Path) -> None:
    """A limit on the file size stands for a full disk: the same errors come from the same calls."""
    build(tmp_path)
    (tmp_path / "out").mkdir()
    process = child(
        f"""
        import resource
        from onnx_pare.errors import OutputError
        from onnx_pare.graph.load import load_model
        a, b = map(Path, sys.argv[1:])
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            {call}
        except OutputError as error:
            print(error)
        """,
        tmp_path / "m.onnx",
        tmp_path / "out" / "out.onnx",
    )
    said, _ = process.communicate(timeout=60)
    assert "cannot be written: File too large" in said
    assert "Free some space" in said
    if call.startswith("publish"):
        assert listing(tmp_path / "out") == set()


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "out").mkdir()
    process = child(
        """
        import shutil, time
        def slow(source, target):
            Path(target).write_bytes(b"half")
            print("copying", flush=True)
            time.sleep(60)
        shutil.copyfile = slow
        publish(Path(sys.argv[1]), Path(sys.argv[2]), overwrite=False)
        """,
        tmp_path / "m.onnx",
        tmp_path / "out" / "out.onnx",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "copying\n"
    assert any(name.endswith(".part") for name in listing(tmp_path / "out"))
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert listing(tmp_path / "out") == set()


def test_text_is_published_whole(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    publish_text("{}", target)
    publish_text("{…}", target)
    assert target.read_text(encoding="utf-8") == "{…}"
    assert listing(tmp_path) == {"report.json"}


def test_same_file(tmp_path: Path) -> None:
    a = tmp_path / "a"
    a.touch()
    (tmp_path / "link").symlink_to(a)
    (tmp_path / "b").touch()
    os.link(a, tmp_path / "hard")
    assert same_file(a, tmp_path / "." / "a")
    assert same_file(a, tmp_path / "link")
    assert same_file(a, tmp_path / "hard")
    assert not same_file(a, tmp_path / "b")
    assert same_file(tmp_path / "none", tmp_path / "." / "none")
    assert not same_file(tmp_path / "none", a)


def test_initializers_are_described_once_and_their_notes_stay() -> None:
    model = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 2] x) => (float[N, 2] y)
        <float[2] a = {1.0, 2.0}, float[2] b = {3.0, 4.0}> { h = Mul(x, a) y = Add(h, b) }"""
    )
    model.graph.initializers["b"].metadata_props["note"] = "kept"
    proto = onnx.ModelProto.FromString(serialize(model))
    assert "a" not in [value.name for value in proto.graph.value_info]
    assert ir.from_proto(proto).graph.initializers["b"].metadata_props == {"note": "kept"}
