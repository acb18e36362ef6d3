from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from onnx_pare.errors import OutputError
from onnx_pare.zoo.folder import STATE, open_folder

HOLD = """
import sys
from pathlib import Path
from onnx_pare.zoo.folder import open_folder
with open_folder(Path(sys.argv[1])) as folder:
    folder.mark("a.onnx")
    (folder.scratch / "big").touch()
    print(folder.scratch, flush=True)
    sys.stdin.read()
"""


def hold(path: Path) -> tuple[subprocess.Popen[str], Path]:
    """Return another process that has the folder, and its scratch folder."""
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_one_run_at_a_time(tmp_path: Path) -> None:
    process, _ = hold(tmp_path)
    try:
        with (
            pytest.raises(OutputError, match=rf"is in use by process {process.pid} on "),
            open_folder(tmp_path),
        ):
            pass
    finally:
        process.communicate("")
    with open_folder(tmp_path):
        pass


def test_a_killed_run_leaves_no_lock_and_no_scratch(tmp_path: Path) -> None:
    process, scratch = hold(tmp_path)
    process.kill()
    process.communicate()
    assert (scratch / "big").exists()
    with open_folder(tmp_path) as folder:
        assert not scratch.exists()
        assert folder.in_flight("a.onnx")
        assert not folder.in_flight("b.onnx")
        folder.unmark("a.onnx")
        assert not folder.in_flight("a.onnx")


def test_scratch_is_private_and_goes(tmp_path: Path) -> None:
    with open_folder(tmp_path / "deep" / "out") as folder:
        assert folder.scratch.stat().st_mode & 0o777 == 0o700
    assert not folder.scratch.exists()


@pytest.mark.parametrize("note", ["{home}/precious", "{tmp}/precious", "/", "", "\0", "{tmp}/../precious"])
def test_a_note_from_elsewhere_removes_nothing(
    tmp_path: Path, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    precious = tmp_path / "precious"
    precious.mkdir()
    link = tmp_path / "onnx-pare-zoo-12345678"
    link.symlink_to(precious)
    public = precious / "onnx-pare-zoo-12345678"
    public.mkdir(mode=0o755)
    for text in (note.format(home=tmp_path, tmp=tmp_path), str(link), str(public)):
        (tmp_path / "out" / STATE).mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / STATE / "scratch").write_text(text, encoding="utf-8")
        with open_folder(tmp_path / "out"):
            pass
        assert public.is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="cannot be written"), open_folder(tmp_path / "out"):
            pass
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(sys.platform == "win32", reason="this system limits no sizes of files")
def test_room(tmp_path: Path) -> None:
    import resource

    with open_folder(tmp_path) as folder:
        assert folder.has_room()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            assert not folder.has_room()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="cannot be written"), open_folder(tmp_path / "out"):
        pass
