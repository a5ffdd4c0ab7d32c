"""What the real tritonclient sees over HTTP: http_client.py HOST:PORT"""
import asyncio
import sys

import numpy as np
import tritonclient.http as http
import tritonclient.http.aio as aio
from client_data import ALL, BINARY_ONLY, LARGE, NO_JSON, linear_input, many, refused, same, wrong_inputs

address = sys.argv[1]
c = http.InferenceServerClient(address, concurrency=8)
assert c.is_server_live() and c.is_server_ready() and c.is_model_ready("m") and c.is_model_ready("m", "1")
assert not c.is_model_ready("nope")
assert c.get_server_metadata()["name"] == "serin"
assert c.get_model_metadata("m")["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 2]}]
assert c.get_model_config("m")["max_batch_size"] == 512

rows = [[1, 2], [3, 4]]
for binary_in in (True, False):
    for binary_out in (True, False):
        given = http.InferInput("features", [2, 2], "FP32")
        given.set_data_from_numpy(np.array(rows, dtype=np.float32), binary_data=binary_in)
        asked = [http.InferRequestedOutput("score", binary_data=binary_out)]
        answer = c.infer("m", [given], outputs=asked, request_id="x")
        assert answer.as_numpy("score").tolist() == [[2.25], [5.25]]
        assert answer.get_response()["id"] == "x"
given = linear_input(http, rows)
assert c.infer("m", [given]).as_numpy("score").tolist() == [[2.25], [5.25]]
assert c.infer("m", [given], model_version="1", timeout=10_000_000).as_numpy("score").shape == (2, 1)
for algorithm in ("gzip", "deflate"):
    answer = c.infer("m", [given], request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)
    assert answer.as_numpy("score").shape == (2, 1)

for binary in (True, False):
    data = ALL if binary else {**ALL, **NO_JSON}
    inputs = []
    for k, (datatype, array) in enumerate(data.items()):
        tensor = http.InferInput(f"in{k}", [1, 2], datatype)
        tensor.set_data_from_numpy(array, binary_data=binary or datatype in BINARY_ONLY)
        inputs.append(tensor)
    asked = [
        http.InferRequestedOutput(f"out{k}", binary_data=binary or datatype in BINARY_ONLY)
        for k, datatype in enumerate(data)
    ]
    answer = c.infer("all", inputs, outputs=asked)
    for k, (datatype, array) in enumerate(data.items()):
        same(datatype, answer.as_numpy(f"out{k}"), array)

large = http.InferInput("in0", list(LARGE.shape), "FP32")
large.set_data_from_numpy(LARGE)
for algorithm in (None, "gzip"):
    same("FP32", c.infer("wide", [large], request_compression_algorithm=algorithm).as_numpy("out0"), LARGE)

handles = [c.async_infer("m", [linear_input(http, [[k, 0]])]) for k in range(50)]
assert [handle.get_result().as_numpy("score").tolist() for handle in handles] == [[[k + 0.25]] for k in range(50)]

refused(lambda: c.infer("nope", [given]), "404", "unknown model 'nope'")
refused(lambda: c.infer("m", [given], model_version="7"), "404", "no version '7'")
for wrong, rule in wrong_inputs(http):
    refused(lambda: c.infer("m", [wrong]), "400", rule)
refused(lambda: c.infer("m", [given], outputs=[http.InferRequestedOutput("y")]), "400", "unexpected inference output")
refused(lambda: c.infer("m", [given], outputs=[http.InferRequestedOutput("score", class_count=2)]), "400", "classification")

assert c.get_inference_statistics("m")["model_stats"][0]["inference_count"] >= 10
assert sorted((m["name"], m["state"]) for m in c.get_model_repository_index()) == [
    ("all", "READY"),
    ("m", "READY"),
    ("wide", "READY"),
]
c.unload_model("m")
assert not c.is_model_ready("m")
refused(lambda: c.infer("m", [given]), "503", "unloaded")
c.load_model("m")
assert c.is_model_ready("m")


async def asynchronous():
    client = aio.InferenceServerClient(address)
    assert await client.is_server_live() and await client.is_model_ready("m")
    await many(client, http)
    await client.close()


asyncio.run(asynchronous())
print("ok")
