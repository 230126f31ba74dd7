"""Encoders: ONNX models that compute an embedding of an image, and the gate that bounds concurrent searches."""
