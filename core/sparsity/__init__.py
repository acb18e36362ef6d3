"""Importance scores, masks, and what is known about zeros."""
