"""The model of the serving benchmark (100 trees of 31 leaves, 12 features) in the form that Serin registers, and its rivals.

rivals.py model FOLDER           trains it: FOLDER/model.onnx and FOLDER/model.txt
rivals.py predict FOLDER ROWS    scores FOLDER/features.f32 with LightGBM and ONNX Runtime, one thread each, in memory
"""
import json
import os
import sys
import time

import numpy

WIDTH = 12
command, folder = sys.argv[1], sys.argv[2]
path = lambda name: os.path.join(folder, name)


def make_model():
    import lightgbm
    import onnx
    from onnx import helper
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    random = numpy.random.default_rng(7)
    rows = random.normal(size=(20_000, WIDTH)).astype(numpy.float32)
    label = (rows[:, 0] * rows[:, 1] + rows[:, 2] + random.normal(size=len(rows)) * 0.5 > 0).astype(int)
    model = lightgbm.LGBMClassifier(n_estimators=100, num_leaves=31, n_jobs=1, verbose=-1).fit(rows, label)
    model.booster_.save_model(path("model.txt"))
    graph = convert_lightgbm(
        model, initial_types=[("features", FloatTensorType([None, WIDTH]))], zipmap=False, target_opset=15
    ).graph
    # the same trees as Serin writes them: a sum, and its sigmoid
    tree = next(node for node in graph.node if node.op_type == "TreeEnsembleClassifier")
    known = {each.name: helper.get_attribute_value(each) for each in tree.attribute}
    kept = {name: value for name, value in known.items() if name.startswith("nodes_")}
    leaves = {name.replace("class_", "target_"): value for name, value in known.items() if name.startswith("class_")}
    leaves["target_ids"] = [0] * len(leaves["target_ids"])
    leaves.pop("target_labels", None)
    regressor = helper.make_node(
        "TreeEnsembleRegressor", ["features"], ["sum"], domain="ai.onnx.ml", n_targets=1, **kept, **leaves
    )
    made = helper.make_model(
        helper.make_graph(
            [regressor, helper.make_node("Sigmoid", ["sum"], ["score"])],
            "trees",
            [helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, [None, WIDTH])],
            [helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, [None, 1])],
        ),
        opset_imports=[helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=8,
    )
    onnx.checker.check_model(made)
    onnx.save(made, path("model.onnx"))


def measure(name, predict, rows):
    predict(rows[:1000])
    started, cpu = time.perf_counter(), time.process_time()
    scores = numpy.ascontiguousarray(predict(rows), dtype=numpy.float64)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - started
    scores.tofile(path(f"{name}.f64"))
    print(json.dumps({"name": name, "cpuSeconds": cpu, "seconds": wall}))


if command == "model":
    make_model()
else:
    import lightgbm
    import onnxruntime

    rows = numpy.fromfile(path("features.f32"), dtype=numpy.float32).reshape(int(sys.argv[3]), WIDTH)
    booster = lightgbm.Booster(model_file=path("model.txt"))
    measure("lightgbm", lambda some: booster.predict(some, num_threads=1), rows)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path("model.onnx"), options, providers=["CPUExecutionProvider"])
    measure("onnxruntime", lambda some: session.run(["score"], {"features": some})[0][:, 0], rows)
