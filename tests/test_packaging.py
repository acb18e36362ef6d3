"""What pyproject.toml says, held against the source tree and against what is installed."""

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import Distribution, distributions, entry_points, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import onnx_pare

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "core": "onnx_pare",
    "passes": "onnx_pare.passes",
    "cli": "onnx_pare.cli",
    "hw_profiles": "onnx_pare.hw_profiles",
    "configs": "onnx_pare.configs",
}
# parts of one thing, tested as the whole: test file, and the modules without a test of their own
TESTED_AS_A_WHOLE = {
    "tests/bench/test_fidelity.py": {"core/bench/outputs.py", "core/bench/runner.py"},
    "tests/calibration/test_data.py": {"core/calibration/array_sets.py", "core/calibration/images.py"},
    "tests/cost/test_count.py": {f"core/cost/{name}.py" for name in ("call", "constants", "slots")},
    "tests/bench/test_roofline.py": {"core/bench/log_axes.py"},
    "tests/documents/test_json_input.py": {"core/documents/json_text.py", "core/documents/limited.py"},
    "tests/graph/test_wire.py": {"core/graph/lean.py", "core/graph/mapped.py"},
    "tests/zoo/test_slot.py": {"core/zoo/workers.py"},
    "tests/zoo/test_supervisor.py": {f"core/zoo/{name}.py" for name in ("channel", "child", "task")},
    "tests/cost/test_compounds.py": {"core/cost/formulas.py", "core/cost/patterns.py"},
    "tests/cost/test_fusion.py": {"core/cost/fusion_rules.py", "core/cost/grouped.py"},
    "tests/cost/test_macs.py": {
        f"core/cost/{name}.py" for name in ("attention", "einsum", "uncountable", "zero_macs", "zeros")
    },
    "tests/cost/test_op_classes.py": {"core/cost/class_table.py"},
    "tests/graph/test_groups.py": {
        f"core/graph/{name}.py" for name in ("axes", "axis_parameters", "axis_rules")
    },
    "tests/graph/test_surgery.py": {"core/graph/cut.py", "core/graph/cut_edits.py"},
    "tests/graph/test_load.py": {"core/graph/protos.py", "core/graph/unweighted.py"},
    "tests/graph/test_shapes.py": {
        f"core/graph/{name}.py"
        for name in ("control_flow", "flat", "probe", "propagate", "skeleton", "tensor_info")
    },
    "tests/passes/test_quantize_fp16.py": {
        "core/quantization/half_slots.py",
    },
    "tests/quantization/test_dynamic.py": {"core/quantization/dynamic_forms.py"},
    "tests/quantization/test_qoperator.py": {"core/quantization/qoperator_forms.py"},
    "tests/graph/test_simplifier.py": {"core/graph/simplifier_child.py"},
    "tests/sparsity/test_choosing.py": {"core/sparsity/targets.py"},
    "tests/sparsity/test_narrowing.py": {"core/sparsity/narrowed.py"},
    "tests/sparsity/test_refit.py": {"core/sparsity/courses.py", "core/sparsity/harm.py"},
    "tests/passes/test_substitute_dsc.py": {"passes/ranks.py"},
    "tests/pipeline/test_recipe.py": {
        *(f"core/pipeline/{name}.py" for name in ("layout", "overrides", "sections", "shipped")),
        *(f"core/documents/{name}.py" for name in ("document", "explain", "scalars")),
    },
}


def project() -> dict[str, Any]:
    """Return pyproject.toml; Python 3.10 reads TOML with the package that pytest brings along."""
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    facts: dict[str, Any] = toml.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return facts


def shipped_files() -> list[tuple[str, Path]]:
    """Return every file of the packages, as (package, path)."""
    found = []
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                inner = path.parent.relative_to(ROOT / folder).parts
                found.append((".".join((package, *inner)), path))
    return found


def installation() -> Distribution:
    """Return the installation, not the metadata that a build leaves beside the source."""
    elsewhere = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    (found,) = distributions(name="onnx-pare", path=elsewhere)
    return found


def test_packages_are_the_folders() -> None:
    folders = {package for package, path in shipped_files() if path.name == "__init__.py"}
    listed = project()["tool"]["setuptools"]["packages"]
    assert listed == sorted(folders)
    assert {package for package, _ in shipped_files()} == folders, "a folder lacks its __init__.py"


def test_the_package_directories_are_the_folders() -> None:
    mapping = project()["tool"]["setuptools"]["package-dir"]
    assert mapping == {package: folder for folder, package in FOLDERS.items()}


def test_all_data_files_are_package_data() -> None:
    data = project()["tool"]["setuptools"]["package-data"]
    left_out = [
        str(path.relative_to(ROOT))
        for package, path in shipped_files()
        if path.suffix != ".py" and not any(path.match(pattern) for pattern in data.get(package, []))
    ]
    assert left_out == []


def test_the_installed_files_are_the_source() -> None:
    installed = {path: files(package).joinpath(path.name) for package, path in shipped_files()}
    differing = [
        str(path.relative_to(ROOT))
        for path, copy in installed.items()
        if not copy.is_file() or copy.read_bytes() != path.read_bytes()
    ]
    assert differing == [], "the installation is not of this source: make test refreshes it"


def test_nothing_installed_lacks_its_source() -> None:
    known = {(package, path.name) for package, path in shipped_files()}
    installed = {
        (".".join(file.parts[:-1]), file.name)
        for file in installation().files or []
        if file.parts[0] == "onnx_pare" and "__pycache__" not in file.parts
    }
    assert installed <= known, "modules deleted since are still installed: make clean test"


def test_the_version_has_one_source() -> None:
    assert project()["project"]["dynamic"] == ["version"]
    assert version("onnx-pare") == onnx_pare.__version__


def test_the_changelog_knows_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(onnx_pare.__version__)}\]", changelog, re.MULTILINE)


def test_classifiers_agree_with_requires_python() -> None:
    facts = project()["project"]
    versions = [c.rpartition(" ")[2] for c in facts["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert facts["requires-python"] == f">={versions[0]}"
    minors = [int(v.partition(".")[2]) for v in versions]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert project()["tool"]["mypy"]["python_version"] == versions[0]
    assert project()["tool"]["ruff"]["target-version"] == f"py{versions[0].replace('.', '')}"


@pytest.mark.parametrize("command", ["optimize", "pare"])
def test_commands_can_be_loaded(command: str) -> None:
    (point,) = (p for p in entry_points(group="console_scripts") if p.name == command)
    assert point.dist is not None
    assert point.dist.name == "onnx-pare"
    assert callable(point.load())


def test_site_packages_gets_one_name() -> None:
    names = {str(file).partition("/")[0] for file in installation().files or []}
    ours = {name for name in names if not name.startswith((".", "__")) and ".dist-info" not in name}
    assert ours <= {"onnx_pare"}


def untested() -> set[str]:
    """Return the modules that no test file of the same name belongs to."""
    found = set()
    for _, path in shipped_files():
        inside = path.relative_to(ROOT / "core" if path.is_relative_to(ROOT / "core") else ROOT)
        test = (ROOT / "tests" / inside).with_name(f"test_{path.name}")
        if path.suffix == ".py" and path.name != "__init__.py" and not test.is_file():
            found.add(str(path.relative_to(ROOT)))
    return found


def test_tests_mirror_the_source() -> None:
    assert untested() - set().union(*TESTED_AS_A_WHOLE.values()) == set()


def test_the_excuses_are_not_stale() -> None:
    assert [test for test in TESTED_AS_A_WHOLE if not (ROOT / test).is_file()] == []
    assert set().union(*TESTED_AS_A_WHOLE.values()) - untested() == set()
