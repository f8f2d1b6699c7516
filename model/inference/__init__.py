"""Use of a trained generator: saving, loading, prediction, full-size coloring, ONNX."""
