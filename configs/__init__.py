"""Recipes shipped with onnx-pare."""
