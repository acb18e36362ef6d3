from __future__ import annotations

from onnx_pare.cli.columns import Columns, table

COLUMNS = Columns(("node", "op", "MACs"), (False, False, True), 10)
ROWS = [("features/first", "Conv", "1.5 M"), ("b", "SkipLayerNormalization", "")]


def test_columns_are_aligned_and_lines_end_without_spaces() -> None:
    assert list(table(COLUMNS, ROWS, None)) == [
        "node           op                      MACs",
        "features/first Conv                   1.5 M",
        "b              SkipLayerNormalization",
    ]


def test_names_are_cut_at_their_beginning_and_operators_at_their_end() -> None:
    assert [line.split()[:2] for line in table(COLUMNS, ROWS, 30)] == [
        ["node", "op"],
        ["…tures/first", "Conv"],
        ["b", "SkipLayerNo…"],
    ]
