"""JUnit XML of runs, for the test views of CI systems: a suite per model, a case per pass and gate.

The form is that of Ant's JUnit task, as GitLab, Jenkins and actions of GitHub read it. Nothing in it depends
on when or where it was written: two equal runs differ in their times and what was timed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from onnx_pare.errors import OutputError
from onnx_pare.graph.save import check_writable, publishing
from onnx_pare.pipeline.metrics import metric_values

# what XML 1.0 has no character for: control characters, halves of surrogate pairs, U+FFFE and U+FFFF
# (https://www.w3.org/TR/xml/#charsets)
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REPLACEMENT = "\ufffd"
_XML_START = b"<?xml"


@dataclass(frozen=True)
class Entry:
    """What became of one model.

    Attributes:
        name: The model, as the suite is called.
        seconds: Wall time.
        report: The JSON values of its report; None if it has none.
        status: `ok`, `failed` or `skipped`.
        reason: Why it failed or was skipped; the first line is the headline.
        kind: What kind of failure it was, in a word.
    """

    name: str
    seconds: float
    report: Mapping[str, Any] | None = None
    status: str = "ok"
    reason: str = ""
    kind: str = "error"


def check_target(path: Path) -> None:
    """Find out before any work whether a JUnit report can be written, and replaces nothing but another.

    A run that fails early writes one too, when nobody knows yet which files it would have read.

    Raises:
        OutputError: It cannot be written, or `path` is a file that holds something else than XML.
    """
    check_writable(path, overwrite=True)
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(len(_XML_START))
        if start != _XML_START:
            raise OutputError(f"{path}: exists already and is no JUnit report", hint="Choose another name.")


def write_junit(path: Path, entries: Iterable[Entry]) -> None:
    """Write the suites of all entries to `path`, one after the other: only one is in memory at a time.

    Raises:
        OutputError: It cannot be written; what was there before still is.
    """
    with publishing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        xml = XMLGenerator(file, encoding="utf-8")
        xml.startDocument()
        xml.startElement("testsuites", AttributesImpl({"name": "onnx-pare"}))
        for entry in entries:
            element = suite(entry)
            ET.indent(element, level=1)
            file.write(f"\n  {ET.tostring(element, encoding='unicode')}")
        xml.characters("\n")
        xml.endElement("testsuites")
        xml.characters("\n")


def suite(entry: Entry) -> ET.Element:
    """Return the `testsuite` of one model: its numbers as properties, and its cases."""
    cases = list(_cases(entry))
    kinds = Counter(child.tag for case in cases for child in case)
    counts = {"failures": kinds["failure"], "errors": kinds["error"], "skipped": kinds["skipped"]}
    made = _element("testsuite", name=entry.name, tests=len(cases), **counts, time=_seconds(entry.seconds))
    if entry.report is not None:
        made.append(_properties(dict(_numbers(entry.report))))
    made.extend(cases)
    return made


def _cases(entry: Entry) -> Iterator[ET.Element]:
    seen: Counter[str] = Counter()
    for case in (_run(entry), *_passes(entry.report or {}), *_gates(entry.report or {})):
        name = case.attrib["name"]
        seen[name] += 1
        case.attrib |= {"classname": _legal(entry.name)} | (
            {"name": f"{name} ({seen[name]})"} if seen[name] > 1 else {}
        )
        yield case


def _run(entry: Entry) -> ET.Element:
    """Return the case of the run itself, which every model has: whether it came to an end."""
    case = _element("testcase", name="run", time=_seconds(entry.seconds))
    headline = entry.reason.partition("\n")[0]
    if entry.status == "failed":
        case.append(_element("error", entry.reason, message=headline, type=entry.kind))
    elif entry.status == "skipped":
        case.append(_element("skipped", message=headline))
    warnings = (entry.report or {}).get("warnings")
    if warnings:
        case.append(_element("system-out", "".join(f"warning: {warning}\n" for warning in warnings)))
    return case


def _passes(report: Mapping[str, Any]) -> Iterator[ET.Element]:
    """Yield a case for each pass: it ran, and what it made was checked, loaded and compared."""
    for record in report.get("passes", ()):
        case = _element("testcase", name=f"pass {record['name']}", time=_seconds(record["seconds"]))
        case.append(_properties({key: record[key] for key in ("changed", "sqnr_db", "top1_agreement")}))
        yield case


def _gates(report: Mapping[str, Any]) -> Iterator[ET.Element]:
    for gate in report.get("gates", ()):
        case = _element("testcase", name=f"gate {gate['expr']}", time=_seconds(0))
        case.append(_properties({key: gate.get(key) for key in ("value", "bound")}))
        if not gate["passed"]:
            case.append(_element("failure", message=gate["reason"], type="gate"))
        yield case


def _numbers(report: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the numbers that gates may ask for, and what tells two results apart."""
    yield "model_sha256", report["model"]["sha256"]
    yield "output_sha256", (report["output"] or {}).get("sha256")
    for metric, value in metric_values(report).items():
        if isinstance(value, Mapping):
            yield from ((f"{metric}[{profile}]", number) for profile, number in value.items())
        else:
            yield metric, value


def _properties(values: Mapping[str, Any]) -> ET.Element:
    made = ET.Element("properties")
    known = {name: value for name, value in values.items() if value is not None}
    made.extend(_element("property", name=name, value=value) for name, value in known.items())
    return made


def _element(tag: str, text: str | None = None, /, **attributes: object) -> ET.Element:
    made = ET.Element(tag, {name: _legal(str(value)) for name, value in attributes.items()})
    made.text = None if text is None else _legal(text)
    return made


def _legal(text: str) -> str:
    return _NO_XML.sub(_REPLACEMENT, text)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"
