"""Checks ONNX files by the official checker, shape inference included: check_onnx.py FILE..."""

import sys

import onnx

for path in sys.argv[1:]:
    try:
        onnx.checker.check_model(path, full_check=True)
        model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True, data_prop=True)
        assert model.graph.output, "no outputs"
    except Exception as problem:
        sys.exit(f"{path}: {problem}")
