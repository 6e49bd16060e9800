"""Runs every network of a folder in OpenCV: NAME.prototxt and NAME.caffemodel on the picture in NAME.json.

A picture is {"shape": [...], "data": [...]}; printed is {NAME: {"cls": ..., "wh": ..., "reg": ...}} of such.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy

HEADS = ["cls", "wh", "reg"]


def heads(prototxt: Path) -> dict:
    given = json.loads(prototxt.with_suffix(".json").read_text())
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(prototxt.with_suffix(".caffemodel")))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
    assert sorted(net.getUnconnectedOutLayersNames()) == sorted(HEADS), net.getUnconnectedOutLayersNames()
    net.setInput(numpy.array(given["data"], numpy.float32).reshape(given["shape"]), "images")
    found = zip(HEADS, net.forward(HEADS))
    return {head: {"shape": values.shape, "data": values.ravel().tolist()} for head, values in found}


if __name__ == "__main__":
    print(json.dumps({path.stem: heads(path) for path in sorted(Path(sys.argv[1]).glob("*.prototxt"))}))
