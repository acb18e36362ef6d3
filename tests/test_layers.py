"""Imports only point downward: the layer table of docs/architecture.md, held against the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# folders at the root, and the package each is installed as
FOLDERS = {"core": "", "passes": "passes", "cli": "cli", "hw_profiles": "hw_profiles", "configs": "configs"}

# units (a folder, or a module of core/) from top to bottom
LEVELS = {
    "cli": 5,
    "zoo": 4,
    "pipeline": 4,
    "passes": 3,
    "quantization": 2,
    "sparsity": 2,
    "calibration": 2,
    "bench": 2,
    "cost": 2,
    "hw_profiles": 2,
    "remote": 2,
    "documents": 1,
    "graph": 1,
    "errors": 0,
    "progress": 0,
    "processes": 0,
    "configs": 0,
    "demo": 0,
    "": 0,  # onnx_pare itself: the version
}
# on the same level a unit knows only itself; the exceptions, each with its reason
SAME_LEVEL = {
    ("quantization", "bench"): "keeps what measures better, in time and in outputs",
    ("quantization", "hw_profiles"): "looks up what the kernels of this CPU cost",
    ("bench", "calibration"): "measures on the samples and labels that calibration reads",
    ("quantization", "calibration"): "chooses ranges and rounds weights by what its observers saw",
    ("bench", "cost"): "puts the costs of two models side by side",
    ("quantization", "cost"): "stores what is computed from constants alone",
    ("quantization", "sparsity"): "stores the weights that can be pruned",
    ("sparsity", "bench"): "times layers as they are and replaced",
    ("sparsity", "calibration"): "fits weights to what layers get and should give on samples",
    ("zoo", "pipeline"): "runs the pipeline on many models",
    ("hw_profiles", "bench"): "calibrates by timing small networks on this machine",
    ("hw_profiles", "cost"): "predicts the time of the kernels that a model is counted as",
    ("cost", "sparsity"): "skips the zero activations whose fraction a model's metadata gives",
}
# what passes may import of their own folder
SHARED = ("passes.base", "passes.ranks")
# slow to import; rich is quicker, and typer may load it itself
HEAVY = {"numpy", "onnx", "onnxruntime", "onnx_ir", "onnxsim", "PIL", "pydantic", "yaml"}


@dataclass(frozen=True)
class Import:
    """Module `target` is imported by module `importer` (both without `onnx_pare.`), at `where`."""

    importer: str
    target: str
    where: str
    at_start: bool


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def module_of(path: Path) -> str:
    folder, *rest = path.relative_to(ROOT).with_suffix("").parts
    parts = [part for part in (FOLDERS[folder], *rest) if part not in ("", "__init__")]
    return ".".join(parts)


def imports(tree: ast.AST, module: str, file: str) -> Iterator[Import]:
    """Yield every import of a module, those in functions and under TYPE_CHECKING too."""
    at_start = set(_at_start(tree))
    for node in ast.walk(tree):
        for target in _targets(node):
            yield Import(module, target, f"{file}:{getattr(node, 'lineno', 0)}", node in at_start)


def _targets(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        # `from onnx_pare import errors` imports a module
        return [f"{base}.{alias.name}" for alias in node.names] if base == "onnx_pare" else [base]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        return [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return []


def _at_start(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _at_start(node)


def all_imports(*folders: str) -> list[Import]:
    return [
        found
        for path in sources(*folders)
        for found in imports(
            ast.parse(path.read_text(encoding="utf-8")), module_of(path), str(path.relative_to(ROOT))
        )
    ]


def unit(module: str) -> str:
    first = module.partition(".")[0]
    return "" if first.startswith("__") else first


def violation(found: Import) -> str | None:
    """Return what is wrong with an import of one of our modules, or None."""
    if not found.target.startswith("onnx_pare"):
        return None
    target = found.target.partition(".")[2]
    above, below = unit(found.importer), unit(target)
    if below not in LEVELS or above not in LEVELS:
        return f"{found.where}: {above or below} has no place in the layer table"
    if above == below:
        others = above == "passes" and target not in ("passes", *SHARED, found.importer)
        return f"{found.where}: a pass imports another, {target}" if others else None
    if LEVELS[below] < LEVELS[above] or (above, below) in SAME_LEVEL:
        return None
    return f"{found.where}: {above} (L{LEVELS[above]}) imports {below} (L{LEVELS[below]})"


def violations(found: Sequence[Import]) -> list[str]:
    return [message for each in found if (message := violation(each))]


def test_imports_point_downward() -> None:
    assert violations(all_imports(*FOLDERS)) == []


def test_every_unit_has_a_level() -> None:
    assert {unit(module_of(path)) for path in sources(*FOLDERS)} <= set(LEVELS)


def test_no_relative_and_no_bare_imports() -> None:
    wrong = [
        f"{found.where}: {found.target}"
        for found in all_imports(*FOLDERS)
        if found.target.startswith(".") or found.target.partition(".")[0] in FOLDERS
    ]
    assert wrong == []


def test_only_the_command_line_prints() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources(*(folder for folder in FOLDERS if folder != "cli"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert wrong == []


def test_commands_import_nothing_heavy_at_start() -> None:
    wrong = [
        f"{found.where}: {found.target}"
        for found in all_imports("cli")
        if found.at_start and found.target.partition(".")[0] in HEAVY
    ]
    assert wrong == []


def test_the_command_line_loads_nothing_heavy() -> None:
    code = "import sys, onnx_pare.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & HEAVY == set()


@pytest.mark.parametrize(
    ("importer", "code"),
    [
        ("graph.load", "from onnx_pare.pipeline.run import run"),
        ("graph.load", "from onnx_pare import cli"),
        ("cost.macs", "def f():\n    import onnx_pare.passes.base"),
        ("cost.macs", "if TYPE_CHECKING:\n    from onnx_pare.calibration.data import Samples"),
        ("bench.latency", "import importlib\nimportlib.import_module('onnx_pare.zoo')"),
        ("passes.simplify", "from onnx_pare.passes.quantize_int8 import Q"),
        ("errors", "from onnx_pare.newcomer import x"),
    ],
)
def test_the_check_finds(importer: str, code: str) -> None:
    assert violations(list(imports(ast.parse(code), importer, "x.py")))


@pytest.mark.parametrize(
    ("importer", "code"),
    [
        ("passes.simplify", "from onnx_pare.passes.base import Pass"),
        ("pipeline.run", "from onnx_pare import __version__"),
        ("bench.accuracy", "from onnx_pare.calibration.data import Samples"),
        ("graph.load", "import numpy"),
    ],
)
def test_the_check_allows(importer: str, code: str) -> None:
    assert violations(list(imports(ast.parse(code), importer, "x.py"))) == []
