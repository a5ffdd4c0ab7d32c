"""What the real tritonclient sees over gRPC: grpc_client.py HOST:PORT"""
import asyncio
import sys

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.grpc.aio as aio
from client_data import ALL, LARGE, linear_input, many, refused, same, wrong_inputs

address = sys.argv[1]
c = grpc.InferenceServerClient(address)
assert c.is_server_live() and c.is_server_ready() and c.is_model_ready("m") and c.is_model_ready("m", "1")
assert not c.is_model_ready("nope") and not c.is_model_ready("m", "7")
metadata = c.get_model_metadata("m")
assert (metadata.platform, list(metadata.inputs[0].shape), metadata.inputs[0].datatype) == ("onnx_onnxv1", [-1, 2], "FP32")
assert c.get_model_config("m").config.max_batch_size == 512
assert c.get_model_config("all").config.input[7].data_type == 13

given = linear_input(grpc, [[1, 2], [3, 4]])
answer = c.infer("m", [given], request_id="x")
assert answer.as_numpy("score").tolist() == [[2.25], [5.25]] and answer.get_response().id == "x"
assert c.infer("m", [given], model_version="1", timeout=10_000_000).as_numpy("score").shape == (2, 1)

inputs = []
for k, (datatype, array) in enumerate(ALL.items()):
    tensor = grpc.InferInput(f"in{k}", [1, 2], datatype)
    tensor.set_data_from_numpy(array)
    inputs.append(tensor)
answer = c.infer("all", inputs)
for k, (datatype, array) in enumerate(ALL.items()):
    same(datatype, answer.as_numpy(f"out{k}"), array)

large = grpc.InferInput("in0", list(LARGE.shape), "FP32")
large.set_data_from_numpy(LARGE)
same("FP32", c.infer("wide", [large]).as_numpy("out0"), LARGE)
special = grpc.InferInput("in0", [1, 1_000], "FP32")
odd = np.zeros((1, 1_000), np.float32)
odd[0, :3] = [np.inf, -np.inf, np.nan]
special.set_data_from_numpy(odd)
same("FP32", c.infer("wide", [special]).as_numpy("out0"), odd)

refused(lambda: c.infer("nope", [given]), "NOT_FOUND", "unknown model 'nope'")
refused(lambda: c.infer("m", [given], model_version="7"), "NOT_FOUND", "no version '7'")
for wrong, rule in wrong_inputs(grpc):
    refused(lambda: c.infer("m", [wrong]), "INVALID_ARGUMENT", rule)
refused(lambda: c.infer("m", [given], outputs=[grpc.InferRequestedOutput("y")]), "INVALID_ARGUMENT", "unexpected inference output")
refused(
    lambda: c.infer("m", [given], outputs=[grpc.InferRequestedOutput("score", class_count=2)]),
    "INVALID_ARGUMENT",
    "classification",
)
inputs[1] = grpc.InferInput("in1", [2, 2], "UINT8")
inputs[1].set_data_from_numpy(np.zeros((2, 2), np.uint8))
refused(lambda: c.infer("all", inputs), "INVALID_ARGUMENT", "input 'in1' has 2 rows, input 'in0' has 1")

assert c.get_inference_statistics("m").model_stats[0].inference_count >= 2
assert sorted((m.name, m.state) for m in c.get_model_repository_index().models) == [
    ("all", "READY"),
    ("m", "READY"),
    ("wide", "READY"),
]
c.unload_model("m")
assert not c.is_model_ready("m")
refused(lambda: c.infer("m", [given]), "UNAVAILABLE", "unloaded")
c.load_model("m")
assert c.is_model_ready("m")


async def asynchronous():
    client = aio.InferenceServerClient(address)
    assert await client.is_server_live() and await client.is_model_ready("m")
    await many(client, grpc)
    await client.close()


asyncio.run(asynchronous())
print("ok")
