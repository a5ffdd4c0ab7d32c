"""What the real tritonclient sees over gRPC: grpc_client.py HOST:PORT (models m: linear, all: identity of six types)."""
import sys
import numpy as np
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

c = grpc.InferenceServerClient(sys.argv[1])
assert c.is_server_live() and c.is_server_ready() and c.is_model_ready("m") and c.is_model_ready("m", "1")
metadata = c.get_model_metadata("m")
assert (metadata.platform, list(metadata.inputs[0].shape), metadata.inputs[0].datatype) == ("onnx_onnxv1", [-1, 2], "FP32")
assert c.get_model_config("m").config.max_batch_size == 512
assert c.get_model_config("all").config.input[2].data_type == 13

given = grpc.InferInput("features", [2, 2], "FP32")
given.set_data_from_numpy(np.array([[1, 2], [3, 4]], dtype=np.float32))
answer = c.infer("m", [given], request_id="x")
assert answer.as_numpy("score").tolist() == [[2.25], [5.25]] and answer.get_response().id == "x"

data = {
    "FP32": np.array([[1.5, 2]], np.float32),
    "INT64": np.array([[2**60 + 1, -5]], np.int64),
    "BYTES": np.array([["a", "ü☃"]], dtype=object),
    "BOOL": np.array([[True, False]]),
    "FP16": np.array([[1.5, 65504]], np.float16),
    "FP64": np.array([[1e300, 0.1]]),
}
inputs = []
for k, (datatype, array) in enumerate(data.items()):
    tensor = grpc.InferInput(f"in{k}", [1, 2], datatype)
    tensor.set_data_from_numpy(array)
    inputs.append(tensor)
answer = c.infer("all", inputs)
for k, (datatype, array) in enumerate(data.items()):
    got = answer.as_numpy(f"out{k}")
    if datatype == "BYTES":
        got = np.array([[x.decode() for x in got[0]]], dtype=object)
    assert (got == array).all(), (datatype, got, array)


def refused(call, status, part):
    try:
        call()
    except InferenceServerException as error:
        assert status in str(error.status()) and part in error.message(), error
        return
    raise AssertionError(f"{part}: was not refused")


refused(lambda: c.infer("nope", [given]), "NOT_FOUND", "unknown model 'nope'")
refused(lambda: c.infer("m", [given], model_version="7"), "NOT_FOUND", "no version '7'")
wide = grpc.InferInput("features", [1, 3], "FP32")
wide.set_data_from_numpy(np.zeros((1, 3), np.float32))
refused(lambda: c.infer("m", [wide]), "INVALID_ARGUMENT", "unexpected shape for input 'features'")
other = grpc.InferInput("features", [1, 2], "INT64")
other.set_data_from_numpy(np.zeros((1, 2), np.int64))
refused(lambda: c.infer("m", [other]), "INVALID_ARGUMENT", "data-type is 'INT64', but model 'm' expects 'FP32'")

assert c.get_inference_statistics("m").model_stats[0].inference_count >= 2
assert [(m.name, m.state) for m in c.get_model_repository_index().models] == [("m", "READY"), ("all", "READY")]
c.unload_model("m")
assert not c.is_model_ready("m")
refused(lambda: c.infer("m", [given]), "UNAVAILABLE", "unloaded")
c.load_model("m")
assert c.is_model_ready("m")
print("ok")
