"""Quantization parameters and where Q/DQ pairs go."""
