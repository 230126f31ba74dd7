"""The open trademark-image search engine: a picture in, the most similar registered logos out."""

import os

__version__ = "0.1.0"

# Libraries that report to their makers unless told not to. ONNX Runtime starts when it is imported, and calling
# `disable_telemetry_events()` afterwards does not stop it; every process of ours imports this package before any library.
os.environ.update(ORT_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_TELEMETRY="1")
