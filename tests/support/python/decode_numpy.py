"""How long the decode of a CenterNet's heads takes in NumPy: peaks, top-K, boxes.

    python decode_numpy.py [CLASSES HEIGHT WIDTH K]

The usual way of writing it: 3x3 maxima from shifted views, argpartition over all peaks, gather. Prints the median
of processor time in milliseconds.
"""

import sys
import time

import numpy as np

classes, height, width, top_k = map(int, sys.argv[1:]) if len(sys.argv) == 5 else (80, 128, 128, 100)
stride = 4


def decode(heat, sides):
    rows = np.pad(heat, ((0, 0), (1, 1), (0, 0)), constant_values=-np.inf)
    best = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    columns = np.pad(best, ((0, 0), (0, 0), (1, 1)), constant_values=-np.inf)
    best = np.maximum(np.maximum(columns[..., :-2], columns[..., 1:-1]), columns[..., 2:])
    peaks = np.where(heat == best, heat, -np.inf).ravel()
    chosen = np.argpartition(peaks, -top_k)[-top_k:]
    chosen = chosen[np.argsort(-peaks[chosen])]
    scores = 1 / (1 + np.exp(-peaks[chosen]))
    label, cell = np.divmod(chosen, height * width)
    y, x = np.divmod(cell, width)
    left, top, right, bottom = sides.reshape(4, -1)[:, cell]
    boxes = np.stack([x * stride - left, y * stride - top, x * stride + right, y * stride + bottom], 1)
    return boxes, scores, label


random = np.random.default_rng(1)
heat = random.normal(size=(classes, height, width)).astype(np.float32)
sides = random.normal(size=(4, height, width)).astype(np.float32)
times = []
for _ in range(50):
    begin = time.process_time()
    decode(heat, sides)
    times.append(time.process_time() - begin)
print(f"{np.median(times) * 1e3:.2f} ms")
