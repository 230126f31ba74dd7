"""Encoders: ONNX models that turn a picture into a unit vector, and the bounded way to them."""
