"""COCO's metric by pycocotools: coco_ap.py GROUND_TRUTH.json DETECTIONS.json

Prints a JSON object: the twelve numbers in its order (it has no names for them), and for each
category id its AP, AP50 and AR100. -1 says that no instance counts.
"""

import contextlib
import json
import sys

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

ALL_SIZES, MOST_DETECTIONS = 0, 2


def mean(values):
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0


def main(truth_path, found_path):
    # It talks on standard output, which is for the answer.
    with contextlib.redirect_stdout(sys.stderr):
        truth = COCO(truth_path)
        evaluation = COCOeval(truth, truth.loadRes(found_path), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    classes = {}
    for k, category in enumerate(evaluation.params.catIds):
        p = precision[:, :, k, ALL_SIZES, MOST_DETECTIONS]
        r = recall[:, k, ALL_SIZES, MOST_DETECTIONS]
        classes[int(category)] = [mean(p), mean(p[:1]), mean(r)]
    print(json.dumps({"summary": [float(value) for value in evaluation.stats], "classes": classes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
