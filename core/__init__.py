"""onnx-pare: pare an ONNX model down to its target: smaller, faster, and proven."""

__version__ = "0.1.0"
