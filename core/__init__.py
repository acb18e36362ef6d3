"""onnx-pare: pare an ONNX model down to its target: smaller, faster, and proven."""

import os

__version__ = "0.1.0"

# onnxruntime's official builds (from 1.31 on also those for Linux) report its use over the network and keep a
# device id in the home folder, unless this is set before they load; whoever sets it to 0 keeps that
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
