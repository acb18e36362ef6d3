"""Data sources, preprocessing and streaming observers."""
