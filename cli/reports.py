"""Where `optimize` reports to: `--report-json` and `--report-junit`, the latter also of a run that failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_pare.pipeline.junit import Entry
    from onnx_pare.pipeline.report import Report
    from onnx_pare.zoo.folder import OutputFolder
    from onnx_pare.zoo.journal import Record
    from onnx_pare.zoo.tally import Tally

logger = logging.getLogger(__name__)
STDOUT = "-"


@dataclass(frozen=True)
class Reports:
    """The reports that are asked for.

    Attributes:
        json: Path of the JSON report; `-` is stdout, empty is none.
        junit: Path of the JUnit report, if there is to be one.
    """

    json: str = ""
    junit: Path | None = None

    @property
    def names(self) -> list[str]:
        """The paths, or URLs, of what will be written."""
        json = [] if self.json in ("", STDOUT) else [self.json]
        return [*json, *([str(self.junit)] if self.junit else [])]

    def write(self, report: Report) -> None:
        """Write all reports of a run that came to its end.

        Raises:
            OutputError: One cannot be written.
        """
        from onnx_pare.cli import console
        from onnx_pare.pipeline.junit import Entry, write_junit

        if self.json:
            console.write_json(report.to_json(), self.json)
        if self.junit:
            write_junit(self.junit, [Entry(report.model.path, report.seconds, report.to_json())])

    @contextmanager
    def failures(self, models: Sequence[str], output: str | None) -> Iterator[None]:
        """Write the JUnit report, if there is to be one, of an error that ends the block.

        Raises:
            OutputError: It cannot be written or would replace something else; the block does not begin.
        """
        import typer

        if self.junit is None:
            yield
            return
        self.check(output)
        start = time.perf_counter()
        try:
            yield
        except typer.Exit:  # an exit code, no error
            raise
        except Exception as error:
            name = models[0] if models else "optimize"
            _write_failure(self.junit, name, time.perf_counter() - start, error)
            raise

    def check(self, output: str | None) -> None:
        """Find out before the work whether the reports can be written at any time.

        Raises:
            OutputError: One cannot be written, or would replace something else.
        """
        from onnx_pare.cli.models import check_json_target
        from onnx_pare.errors import OutputError
        from onnx_pare.graph.save import same_file
        from onnx_pare.pipeline.junit import check_target

        check_json_target(self.json, [], "--report-json")
        if self.junit is None:
            return
        if str(self.junit) == STDOUT:
            raise OutputError("--report-junit -: is not written to stdout", hint="Give the name of a file.")
        check_target(self.junit)
        others = [name for name in (output, self.json) if name not in (None, "", STDOUT)]
        if any(same_file(self.junit, Path(other)) for other in others):
            raise OutputError(f"{self.junit}: is another output", hint="Choose another name.")

    def write_batch(self, summary: Tally, records: Iterable[Record], folder: OutputFolder) -> None:
        """Write all reports of a batch: the summary, and a test suite for each model.

        Raises:
            OutputError: One cannot be written.
        """
        from onnx_pare.cli import console
        from onnx_pare.pipeline.junit import write_junit

        if self.json:
            console.write_json(summary.to_json(), self.json)
        if self.junit:
            write_junit(self.junit, (_entry(record, folder) for record in records))


def _entry(record: Record, folder: OutputFolder) -> Entry:
    """Return what a record and the report it names say of a model; one that lost its report has failed."""
    from onnx_pare.errors import InputError
    from onnx_pare.pipeline.junit import Entry

    try:
        report = None if record.report is None else folder.read_report(record.report)
    except InputError as error:
        return Entry(record.model, record.seconds, status="failed", reason=error.message, kind="report")
    return Entry(
        record.model,
        record.seconds,
        report,
        status=record.status.value,
        reason=record.reason,
        kind=record.kind.value if record.kind else "",
    )


def _write_failure(path: Path, name: str, seconds: float, error: Exception) -> None:
    from onnx_pare.cli.failures import explained
    from onnx_pare.errors import OutputError
    from onnx_pare.pipeline.junit import Entry, write_junit

    failure = explained(error)
    reason = f"{failure.message}\n{failure.hint}".strip()
    entry = Entry(name, seconds, status="failed", reason=reason, kind=type(error).__name__)
    try:
        write_junit(path, [entry])
    except OutputError as also:
        logger.error("%s", also.message)  # what failed first is what the user is told
