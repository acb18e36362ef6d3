"""Histograms over channels, and facts for reports."""

from __future__ import annotations

from onnx_pare.sparsity.share import Share, Zeros


def test_a_bin_begins_with_its_lower_bound() -> None:
    share = Share(0.5, 1, (0.0, 0.0999, 0.1, 0.3, 0.7, 0.99, 1.0))
    assert share.histogram == (2, 1, 0, 1, 0, 0, 0, 1, 0, 2)
    assert sum(Share(0.5).histogram) == 0


def test_facts_are_named_after_what_was_counted() -> None:
    bins = [0, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    spread = {"zero_fraction": 0.75, "zero_fraction_p10": 0.6, "zero_fraction_p90": None}
    facts = Zeros(0.75, 1, (0.5, 1.0), (1,), p10=0.6).facts("zero_fraction")
    assert facts == {**spread, "channels": 2, "histogram": bins, "dead_channels": [1]}
    assert Share(0.2).facts("negative_fraction")["negative_fraction"] == 0.2
