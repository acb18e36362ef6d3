from __future__ import annotations

import sys
from pathlib import Path

import pytest

from onnx_pare.bench.figures import SUFFIXES, check_figure, save_figure
from onnx_pare.errors import OutputError, UsageError

pytest.importorskip("matplotlib")


def figure():  # type: ignore[no-untyped-def]
    from matplotlib.figure import Figure

    made = Figure()
    made.add_subplot().plot([1, 2], [3, 4])
    return made


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".PNG"])
def test_the_suffix_says_the_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    save_figure(figure(), path)
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert path.read_bytes().startswith(starts[suffix.lower()])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_figures_give_equal_files(suffix: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        save_figure(figure(), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("name", ["out.jpg", "out", "svg"])
def test_unknown_formats_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of them") as error:
        check_figure(tmp_path / name)
    assert error.value.hint == "Known: .pdf, .png, .svg"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_noticed_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"):
        check_figure(tmp_path / "missing" / "out.svg")


def test_without_matplotlib_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx_pare.bench.figures.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="not installed") as error:
        check_figure(tmp_path / "out.svg")
    assert error.value.hint == "pip install 'onnx-pare[plot]'"


def test_matplotlib_is_not_imported_before_it_is_needed() -> None:
    import subprocess

    code = """
import sys
import onnx_pare.bench.figures, onnx_pare.bench.roofline, onnx_pare.bench.flops_plot
print("matplotlib" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
