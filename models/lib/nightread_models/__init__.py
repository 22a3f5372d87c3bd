"""Shared code of Nightread's model scripts: networks, data, metrics, export and manifests."""

import os

# ONNX Runtime reports to Microsoft unless it finds this when it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
