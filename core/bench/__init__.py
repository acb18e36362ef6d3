"""Measuring latency, fidelity and labelled accuracy."""
