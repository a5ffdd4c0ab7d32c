"""The model of the benchmark and its requests: make_model.py FOLDER (m.onnx: 100 trees of 31 leaves on 12 features; big.onnx; bodies; golden answers)."""
import json
import os
import sys

import lightgbm
import numpy
import onnxruntime
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

WIDTH = 12
folder = sys.argv[1]
random = numpy.random.default_rng(7)
rows = random.normal(size=(20_000, WIDTH)).astype(numpy.float32)
label = (rows[:, 0] * rows[:, 1] + rows[:, 2] + random.normal(size=len(rows)) * 0.5 > 0).astype(int)
for name, trees, options in (
    ("m", 100, {"num_leaves": 31}),
    ("big", 500, {"num_leaves": 256, "max_depth": 8, "min_child_samples": 5}),
):
    model = lightgbm.LGBMClassifier(n_estimators=trees, n_jobs=1, verbose=-1, **options).fit(rows, label)
    graph = convert_lightgbm(
        model, initial_types=[("features", FloatTensorType([None, WIDTH]))], zipmap=False, target_opset=15
    )
    with open(os.path.join(folder, f"{name}.onnx"), "wb") as file:
        file.write(graph.SerializeToString())
asked = random.normal(size=(1_000, WIDTH)).astype(numpy.float32)
with open(os.path.join(folder, "bodies.jsonl"), "w") as file:
    for row in asked:
        tensor = {"name": "features", "shape": [1, WIDTH], "datatype": "FP32", "data": [float(x) for x in row]}
        file.write(json.dumps({"inputs": [tensor], "outputs": [{"name": "probabilities"}]}) + "\n")
for name in ("m", "big"):
    session = onnxruntime.InferenceSession(os.path.join(folder, f"{name}.onnx"))
    golden = session.run(["probabilities"], {"features": asked})[0]
    with open(os.path.join(folder, f"{name}.golden.json"), "w") as file:
        json.dump(golden[:, 1].tolist(), file)
