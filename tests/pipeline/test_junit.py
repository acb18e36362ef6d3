"""JUnit XML, read back by a parser of XML."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_pare.errors import OutputError
from onnx_pare.pipeline.junit import Entry, check_target, suite, write_junit
from tests.pipeline.reports import report

OK = Entry("zoo/net.onnx", 7.5, report())
FAILED = Entry("zoo/bad.onnx", 0.25, status="failed", reason="no graph\nExport it anew.", kind="input")
SKIPPED = Entry("zoo/int8.onnx", 0, status="skipped", reason="quantized already")


def written(path: Path, *entries: Entry) -> ET.Element:
    write_junit(path, entries)
    return ET.fromstring(path.read_bytes())


def properties(element: ET.Element) -> dict[str, str]:
    return {one.attrib["name"]: one.attrib["value"] for one in element.findall("properties/property")}


def test_a_suite_for_every_model(tmp_path: Path) -> None:
    root = written(tmp_path / "j.xml", OK, FAILED, SKIPPED)
    assert (root.tag, root.attrib) == ("testsuites", {"name": "onnx-pare"})
    keys = ("name", "tests", "failures", "errors", "skipped", "time")
    assert [tuple(one.attrib[key] for key in keys) for one in root] == [
        ("zoo/net.onnx", "5", "1", "0", "0", "7.500"),
        ("zoo/bad.onnx", "1", "0", "1", "0", "0.250"),
        ("zoo/int8.onnx", "1", "0", "0", "1", "0.000"),
    ]
    for one in root:
        assert {case.attrib["classname"] for case in one.iter("testcase")} == {one.attrib["name"]}


def test_a_case_for_every_pass_and_gate() -> None:
    cases = suite(OK).findall("testcase")
    assert [(case.attrib["name"], case.attrib["time"]) for case in cases] == [
        ("run", "7.500"),
        ("pass simplify", "1.250"),
        ("pass quantize_int8", "4.500"),
        ("gate speedup>=1.5", "0.000"),
        ("gate size_bytes<20", "0.000"),
    ]
    assert properties(cases[1]) == {"changed": "0", "sqnr_db": "200.0"}
    assert properties(cases[2]) == {"changed": "3", "sqnr_db": "33.0", "top1_agreement": "0.75"}
    assert properties(cases[3]) == {"value": "2.0", "bound": "1.5"}
    failures = [(case.attrib["name"], one.attrib) for case in cases for one in case.findall("failure")]
    assert failures == [("gate size_bytes<20", {"message": "is 25", "type": "gate"})]
    assert cases[0].findtext("system-out") == "warning: mind <this>\n"


def test_the_numbers_of_a_model_are_properties_of_its_suite() -> None:
    found = properties(suite(OK))
    assert found["size_ratio"] == "0.25"
    assert found["latency_ms[local]"] == "1.5"
    assert found["output_sha256"] == "c3" * 32


def test_a_model_that_failed_or_was_skipped() -> None:
    (case,) = suite(FAILED).findall("testcase")
    (error,) = case
    assert (error.tag, error.attrib) == ("error", {"message": "no graph", "type": "input"})
    assert error.text == "no graph\nExport it anew."
    (case,) = suite(SKIPPED).findall("testcase")
    assert [(one.tag, one.attrib) for one in case] == [("skipped", {"message": "quantized already"})]


def test_names_of_cases_differ() -> None:
    passes, gates = report()["passes"], report()["gates"]
    twice = suite(Entry("n", 1, report(passes=[passes[0]] * 2, gates=[gates[0]] * 3)))
    names = [case.attrib["name"] for case in twice.iter("testcase")]
    assert names == [
        "run", "pass simplify", "pass simplify (2)",
        "gate speedup>=1.5", "gate speedup>=1.5 (2)", "gate speedup>=1.5 (3)",
    ]  # fmt: skip


def test_reports_of_earlier_versions_have_no_bounds(tmp_path: Path) -> None:
    gate = {"expr": "speedup>=1.5", "value": 2.0, "passed": True, "reason": ""}
    assert properties(suite(Entry("n", 1, report(gates=[gate])))[-1]) == {"value": "2.0"}


@given(st.text() | st.text(st.characters(max_codepoint=0x9F)))
def test_any_text_can_be_read_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.xml"
    entry = Entry(text + "\x1b\udcff", 1, status="failed", reason=text + "\x00\ufffe")
    root = written(path, entry)
    (error,) = root.iter("error")
    assert root[0].attrib["name"].endswith("\ufffd\ufffd")
    assert (error.text or "").endswith("\ufffd\ufffd")


def test_the_same_entries_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.xml", "b.xml"):
        write_junit(tmp_path / name, [OK, FAILED])
    assert (tmp_path / "a.xml").read_bytes() == (tmp_path / "b.xml").read_bytes()
    assert (tmp_path / "a.xml").read_bytes().endswith(b"</testsuites>\n")


def test_memory_does_not_grow_with_the_number_of_models(tmp_path: Path) -> None:
    def peak(models: int) -> int:
        tracemalloc.start()
        write_junit(tmp_path / "j.xml", (Entry(f"{index}.onnx", 1, report()) for index in range(models)))
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    peak(10)
    assert peak(1000) < peak(100) + 200_000  # the file is 2 MB long


def test_what_was_there_stays_if_an_entry_cannot_be_made(tmp_path: Path) -> None:
    def entries() -> Iterator[Entry]:
        yield OK
        raise RuntimeError("killed")

    write_junit(tmp_path / "j.xml", [FAILED])
    before = (tmp_path / "j.xml").read_bytes()
    with pytest.raises(RuntimeError):
        write_junit(tmp_path / "j.xml", entries())
    assert (tmp_path / "j.xml").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["j.xml"]


def test_only_a_junit_report_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "j.xml"
    check_target(path)
    write_junit(path, [OK])
    check_target(path)
    for content in (b"\x08\x09model", b"version: 1", b""):
        path.write_bytes(content)
        with pytest.raises(OutputError, match="exists already and is no JUnit report"):
            check_target(path)
    with pytest.raises(OutputError, match="no such folder"):
        check_target(tmp_path / "missing" / "j.xml")
