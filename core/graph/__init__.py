"""Loading, saving, checking and editing ONNX graphs."""
