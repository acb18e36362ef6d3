"""What the documentation promises: its links lead somewhere, its example works."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx_ir as ir
import pytest

from onnx_pare.documents.document import PROFILE
from onnx_pare.documents.section import Section, validate
from onnx_pare.documents.yaml12 import read
from onnx_pare.hw_profiles import schema
from onnx_pare.passes import base

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[2] x) => (float[2] z) { y = Relu(x)  z = Neg(y) }
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in pages if f"({name})" not in index} == set()


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the pass in the README, forgotten again after the test."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    base.registry()
    monkeypatch.setattr(base, "_registered", dict(base._registered))
    module = ModuleType("onnx_pare.passes.strip_docs")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "README.md", "exec"), module.__dict__)
    return module.StripDocs


def test_the_pass_in_the_readme_works(example: Any) -> None:
    model = ir.from_onnx_text(MODEL)
    long, short = model.graph
    long.doc_string, short.doc_string = "x" * 21, "x" * 20
    outcome = example(example.Options(keep=20)).apply(model, None)
    assert (example.name, outcome.changed) == ("strip_docs", 1)
    assert [node.doc_string for node in outcome.model.graph] == [None, "x" * 20]


PROFILES = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")


def test_the_device_in_the_docs_can_be_predicted() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PROFILES, re.DOTALL)
    device = validate(schema.Device, read(text.encode(), "my-board.yaml", PROFILE).data)
    assert device.facts.memory_gb_per_s
    assert all(device.facts.peak(runtime.inside("float32")) for runtime in device.runtimes.values())


def test_every_key_of_profiles_is_described() -> None:
    parts = [part for part in vars(schema).values() if isinstance(part, type) and issubclass(part, Section)]
    keys = {key for part in parts for key in part.model_fields}
    described = {word for code in re.findall(r"`([^`]+)`", PROFILES) for word in re.findall(r"\w+", code)}
    assert keys - described == set()
